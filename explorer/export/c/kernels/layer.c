/* A convolution, channels last; a fully connected layer is one of a single position. The input is padded at the top
   and on the left, and, where `spread` is more than 1, has zeros between its rows and columns (transposed). */
typedef struct {
    net_weights weights;
    const int32_t *biases;
    net_scale scale;
    uint16_t in_height;
    uint16_t in_width;
    uint16_t in_channels;
    uint16_t out_height;
    uint16_t out_width;
    uint16_t kernel_height;
    uint16_t kernel_width;
    uint16_t groups;
    uint8_t stride_height;
    uint8_t stride_width;
    uint8_t top;
    uint8_t left;
    uint8_t dilation_height;
    uint8_t dilation_width;
    uint8_t spread_height;
    uint8_t spread_width;
    uint8_t zero_point;
} net_layer;

/* Return the row, or column, of the input that is at `place` once it is spread, or -1. */
static int32_t net_find_row(int32_t place, int32_t spread, int32_t size)
{
    int32_t row = place;

    if (spread > 1) {
        row = ((place % spread) == 0) ? (place / spread) : -1;
    }
    return ((row >= 0) && (row < size)) ? row : -1;
}
