/* Rescale one operand, or the sum of two on grids of their own. */
static void net_add(const net_elements *elements, net_tensor left, net_tensor right, net_tensor to)
{
    const net_scale *scale = &elements->scale;
    int32_t place = 0;
    int32_t y;
    int32_t x;
    int32_t channel;

    for (y = 0; y < (int32_t)elements->height; y++) {
        for (x = 0; x < (int32_t)elements->width; x++) {
            for (channel = 0; channel < (int32_t)scale->channels; channel++) {
                const int32_t entry = net_find_entry(scale, (y * (int32_t)elements->width) + x, channel);
                int64_t product = net_load(left, net_find_element(elements->left_steps, y, x, channel));

                product *= scale->multipliers[entry];
                if (elements->right_multipliers != NULL) {
                    const int64_t other = net_load(right, net_find_element(elements->right_steps, y, x, channel));

                    product += other * elements->right_multipliers[entry];
                }
                net_store(to, place, net_rescale(scale, entry, product));
                place++;
            }
        }
    }
}
