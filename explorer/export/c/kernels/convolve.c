/* Add (input - zero_point) * weight to the sums of two filters. */
static void net_multiply_add(
    const uint8_t *input, const int8_t *first, const int8_t *second, int32_t count, int32_t zero_point, int32_t *sums)
{
    int32_t one = sums[0];
    int32_t two = sums[1];
    int32_t i = 0;

#if defined(__ARM_FEATURE_DSP)
    const int16x2_t zero = (int16x2_t)(zero_point * 0x10001);

    for (; i < (count - 3); i += 4) { /* four products of each filter in two instructions */
        uint32_t codes;
        uint32_t weights;
        int16x2_t even;
        int16x2_t odd;

        (void)memcpy(&codes, &input[i], sizeof(codes));
        even = __ssub16((int16x2_t)__uxtb16(codes), zero);
        odd = __ssub16((int16x2_t)__uxtb16(codes >> 8), zero);
        (void)memcpy(&weights, &first[i], sizeof(weights));
        one = __smlad(even, __sxtb16((int8x4_t)weights), one);
        one = __smlad(odd, __sxtb16((int8x4_t)(weights >> 8)), one);
        (void)memcpy(&weights, &second[i], sizeof(weights));
        two = __smlad(even, __sxtb16((int8x4_t)weights), two);
        two = __smlad(odd, __sxtb16((int8x4_t)(weights >> 8)), two);
    }
#endif
    for (; i < count; i++) {
        const int32_t value = (int32_t)input[i] - zero_point;

        one += value * first[i];
        two += value * second[i];
    }
    sums[0] = one;
    sums[1] = two;
}

/* Add the products of a row of two kernels, at a position of the output. */
static void net_add_row(
    const net_layer *layer, const uint8_t *row, const int8_t *first, const int8_t *second, int32_t x, int32_t *sums)
{
    const int32_t channels = layer->in_channels;
    const int32_t share = channels / (int32_t)layer->groups;
    const int32_t start = (x * (int32_t)layer->stride_width) - (int32_t)layer->left;
    int32_t column;

    if ((layer->groups == 1U) && (layer->dilation_width == 1U) && (layer->spread_width == 1U)) {
        const int32_t left = (start < 0) ? -start : 0;
        const int32_t inside = (int32_t)layer->in_width - start;
        const int32_t right = (inside < (int32_t)layer->kernel_width) ? inside : (int32_t)layer->kernel_width;

        if (left < right) {
            net_multiply_add(&row[(start + left) * channels], &first[left * channels], &second[left * channels],
                             (right - left) * channels, layer->zero_point, sums);
        }
    } else {
        for (column = 0; column < (int32_t)layer->kernel_width; column++) {
            const int32_t found = net_find_row(start + (column * (int32_t)layer->dilation_width),
                                               layer->spread_width, layer->in_width);

            if (found >= 0) {
                net_multiply_add(&row[found * channels], &first[column * share], &second[column * share], share,
                                 layer->zero_point, sums);
            }
        }
    }
}

/* Compute two neighbouring filters at all positions; the second may be the first once more. */
static void net_convolve_pair(
    const net_layer *layer, const uint8_t *input, net_tensor to, int32_t filter, const int8_t *const *kernels)
{
    const int32_t share = (int32_t)layer->in_channels / (int32_t)layer->groups;
    const int32_t row_size = (int32_t)layer->in_width * (int32_t)layer->in_channels;
    const int32_t kernel_size = (int32_t)layer->kernel_width * share;
    const int32_t paired = (kernels[0] == kernels[1]) ? 0 : 1;
    int32_t y;
    int32_t x;
    int32_t row;

    for (y = 0; y < (int32_t)layer->out_height; y++) {
        for (x = 0; x < (int32_t)layer->out_width; x++) {
            const int32_t position = (y * (int32_t)layer->out_width) + x;
            int32_t sums[2] = {0, 0};

            if (layer->biases != NULL) {
                sums[0] = layer->biases[filter];
                sums[1] = layer->biases[filter + paired];
            }
            for (row = 0; row < (int32_t)layer->kernel_height; row++) {
                const int32_t place = (y * (int32_t)layer->stride_height) - (int32_t)layer->top;
                const int32_t found = net_find_row(place + (row * (int32_t)layer->dilation_height),
                                                   layer->spread_height, layer->in_height);

                if (found >= 0) {
                    net_add_row(layer, &input[found * row_size], &kernels[0][row * kernel_size],
                                &kernels[1][row * kernel_size], x, sums);
                }
            }
            net_finish(&layer->scale, to, position, filter, sums[0]);
            if (paired != 0) {
                net_finish(&layer->scale, to, position, filter + 1, sums[1]);
            }
        }
    }
}

static void net_convolve(const net_layer *layer, net_tensor from, net_tensor to, int8_t *scratch)
{
    const int32_t share = (int32_t)layer->in_channels / (int32_t)layer->groups;
    const int32_t filters = (int32_t)layer->scale.channels / (int32_t)layer->groups;
    const int32_t count = (int32_t)layer->kernel_height * (int32_t)layer->kernel_width * share;
    int32_t group;
    int32_t number;

    for (group = 0; group < (int32_t)layer->groups; group++) {
        for (number = 0; number < filters; number += 2) {
            const int32_t filter = (group * filters) + number;
            const int8_t *kernels[2];

            kernels[0] = net_get_filter(&layer->weights, filter, count, scratch);
            kernels[1] = kernels[0];
            if ((number + 1) < filters) {
                int8_t *rest = (scratch == NULL) ? NULL : &scratch[count];

                kernels[1] = net_get_filter(&layer->weights, filter + 1, count, rest);
            }
            net_convolve_pair(layer, &from.codes[group * share], to, filter, kernels);
        }
    }
}
