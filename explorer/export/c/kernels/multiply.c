/* Products of two operands. */
static void net_multiply(const net_elements *elements, net_tensor left, net_tensor right, net_tensor to)
{
    int32_t y;
    int32_t x;
    int32_t channel;

    for (y = 0; y < (int32_t)elements->height; y++) {
        for (x = 0; x < (int32_t)elements->width; x++) {
            for (channel = 0; channel < (int32_t)elements->scale.channels; channel++) {
                const int32_t first = net_load(left, net_find_element(elements->left_steps, y, x, channel));
                const int32_t second = net_load(right, net_find_element(elements->right_steps, y, x, channel));

                net_finish(&elements->scale, to, (y * (int32_t)elements->width) + x, channel,
                           (first - (int32_t)elements->left_zero_point) *
                               (second - (int32_t)elements->right_zero_point));
            }
        }
    }
}
