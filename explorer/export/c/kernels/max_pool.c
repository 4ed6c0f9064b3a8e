/* Largest code of each window; padding never wins. */
typedef struct {
    uint16_t in_height;
    uint16_t in_width;
    uint16_t out_height;
    uint16_t out_width;
    uint16_t channels;
    uint16_t kernel_height;
    uint16_t kernel_width;
    uint8_t stride_height;
    uint8_t stride_width;
    uint8_t top;
    uint8_t left;
    uint8_t dilation_height;
    uint8_t dilation_width;
} net_maxima;

static uint8_t net_find_largest(const net_maxima *pool, const uint8_t *codes, int32_t top, int32_t left)
{
    uint8_t largest = 0U;
    int32_t row;
    int32_t column;

    for (row = 0; row < (int32_t)pool->kernel_height; row++) {
        const int32_t y = top + (row * (int32_t)pool->dilation_height);

        for (column = 0; (y >= 0) && (y < (int32_t)pool->in_height) && (column < (int32_t)pool->kernel_width);
             column++) {
            const int32_t x = left + (column * (int32_t)pool->dilation_width);

            if ((x >= 0) && (x < (int32_t)pool->in_width)) {
                const uint8_t code = codes[((y * (int32_t)pool->in_width) + x) * (int32_t)pool->channels];

                largest = (code > largest) ? code : largest;
            }
        }
    }
    return largest;
}

static void net_max_pool(const net_maxima *pool, net_tensor from, net_tensor to)
{
    int32_t place = 0;
    int32_t y;
    int32_t x;
    int32_t channel;

    for (y = 0; y < (int32_t)pool->out_height; y++) {
        for (x = 0; x < (int32_t)pool->out_width; x++) {
            for (channel = 0; channel < (int32_t)pool->channels; channel++) {
                const int32_t top = (y * (int32_t)pool->stride_height) - (int32_t)pool->top;
                const int32_t left = (x * (int32_t)pool->stride_width) - (int32_t)pool->left;

                to.codes[place] = net_find_largest(pool, &from.codes[channel], top, left);
                place++;
            }
        }
    }
}
