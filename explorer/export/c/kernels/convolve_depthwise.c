/* A convolution with one filter for each channel. */
static void net_convolve_depthwise(const net_layer *layer, net_tensor from, net_tensor to, int8_t *scratch)
{
    const int32_t channels = layer->in_channels;
    const int32_t width = layer->kernel_width;
    int32_t channel;
    int32_t y;
    int32_t x;
    int32_t row;
    int32_t column;

    for (channel = 0; channel < channels; channel++) {
        const int8_t *kernel =
            net_get_filter(&layer->weights, channel, (int32_t)layer->kernel_height * width, scratch);

        for (y = 0; y < (int32_t)layer->out_height; y++) {
            for (x = 0; x < (int32_t)layer->out_width; x++) {
                int32_t sum = (layer->biases != NULL) ? layer->biases[channel] : 0;

                for (row = 0; row < (int32_t)layer->kernel_height; row++) {
                    const int32_t top = (y * (int32_t)layer->stride_height) - (int32_t)layer->top;
                    const int32_t found = net_find_row(top + (row * (int32_t)layer->dilation_height),
                                                       layer->spread_height, layer->in_height);
                    const int32_t left = (x * (int32_t)layer->stride_width) - (int32_t)layer->left;

                    for (column = 0; (found >= 0) && (column < width); column++) {
                        const int32_t place = net_find_row(left + (column * (int32_t)layer->dilation_width),
                                                           layer->spread_width, layer->in_width);

                        if (place >= 0) {
                            const int32_t at = (((found * (int32_t)layer->in_width) + place) * channels) + channel;

                            sum += ((int32_t)from.codes[at] - (int32_t)layer->zero_point) *
                                   kernel[(row * width) + column];
                        }
                    }
                }
                net_finish(&layer->scale, to, (y * (int32_t)layer->out_width) + x, channel, sum);
            }
        }
    }
}
