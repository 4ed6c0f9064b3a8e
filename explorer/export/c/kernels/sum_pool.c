/* Sums over windows; rows and columns are (start, stop) of each row and column of the output. */
typedef struct {
    const uint16_t *rows;
    const uint16_t *columns;
    net_scale scale;
    uint16_t in_width;
    uint16_t out_height;
    uint16_t out_width;
    uint8_t zero_point;
} net_sums;

static void net_sum_pool(const net_sums *pool, net_tensor from, net_tensor to)
{
    const int32_t channels = pool->scale.channels;
    int32_t y;
    int32_t x;
    int32_t channel;
    int32_t row;
    int32_t column;

    for (y = 0; y < (int32_t)pool->out_height; y++) {
        for (x = 0; x < (int32_t)pool->out_width; x++) {
            for (channel = 0; channel < channels; channel++) {
                int32_t sum = 0;

                for (row = pool->rows[2 * y]; row < (int32_t)pool->rows[(2 * y) + 1]; row++) {
                    for (column = pool->columns[2 * x]; column < (int32_t)pool->columns[(2 * x) + 1]; column++) {
                        const int32_t at = (((row * (int32_t)pool->in_width) + column) * channels) + channel;

                        sum += (int32_t)from.codes[at] - (int32_t)pool->zero_point;
                    }
                }
                net_finish(&pool->scale, to, (y * (int32_t)pool->out_width) + x, channel, sum);
            }
        }
    }
}
