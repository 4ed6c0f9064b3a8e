/* Rows, columns and channels of the output, and how far apart these are in each operand: 0 where it is repeated. */
typedef struct {
    uint16_t height;
    uint16_t width;
    uint16_t left_steps[3];
    uint16_t right_steps[3];
    uint8_t left_zero_point;
    uint8_t right_zero_point;
    const int32_t *right_multipliers;
    net_scale scale;
} net_elements;

static int32_t net_find_element(const uint16_t *steps, int32_t y, int32_t x, int32_t channel)
{
    return (y * (int32_t)steps[0]) + (x * (int32_t)steps[1]) + (channel * (int32_t)steps[2]);
}
