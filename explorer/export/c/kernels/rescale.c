/* code = clip(zero_point + ((sum * multiplier + offset) >> shift), low, high). Without `offsets`, half of 2^shift
   is added. `bounds` are low and high of each entry, or NULL. Without `multipliers` sums stay as they are. */
typedef struct {
    const int32_t *multipliers;
    const uint8_t *shifts;
    const int64_t *offsets;
    const int32_t *bounds;
    int32_t zero_point;
    int32_t low;
    int32_t high;
    uint16_t channels;
    uint16_t position_step;
    uint16_t channel_step;
#if NET_THRESHOLDS
    uint16_t depth;
    const int32_t *breakpoints;
    const uint8_t *table;
#endif
} net_scale;

static int32_t net_find_entry(const net_scale *scale, int32_t position, int32_t channel)
{
    return (position * (int32_t)scale->position_step) + (channel * (int32_t)scale->channel_step);
}

/* Shift right with floor, which C leaves open where a number is negative. */
static int64_t net_shift(int64_t value, uint8_t by)
{
    return (value < 0) ? -(int64_t)(((uint64_t)(-(value + 1)) >> by) + 1U) : (int64_t)((uint64_t)value >> by);
}

static int32_t net_rescale(const net_scale *scale, int32_t entry, int64_t product)
{
    const uint8_t shift = scale->shifts[entry];
    int64_t low = scale->low;
    int64_t high = scale->high;
    int64_t value = product;
    int32_t code;

    value += (scale->offsets != NULL) ? scale->offsets[entry] : (int64_t)((uint64_t)1U << (shift - 1U));
    value = net_shift(value, shift) + scale->zero_point;
    if (scale->bounds != NULL) {
        low = scale->bounds[2 * entry];
        high = scale->bounds[(2 * entry) + 1];
    }
    value = (value < low) ? low : value;
    code = (int32_t)((value > high) ? high : value);
#if NET_THRESHOLDS
    if (scale->breakpoints != NULL) {
        int32_t passed = 0;
        int32_t step = (int32_t)(1U << (scale->depth - 1U));

        for (; step > 0; step /= 2) {
            if (scale->breakpoints[passed + step - 1] <= code) {
                passed += step;
            }
        }
        code = scale->table[passed];
    }
#endif
    return code;
}
