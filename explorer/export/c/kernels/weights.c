/* Filters, one behind the other. Packed ones are indices of `bits` each, the lowest bits of a byte first, and begin
   with whole bytes: into the codebook in `values`, whose entries are apart by `codebook_step` from filter to filter,
   or, where there is none, of weights less the smallest that `bits` hold. */
typedef struct {
    const int8_t *values;
#if NET_PACKED
    const uint8_t *packed;
    uint16_t codebook_step;
    uint16_t bits;
#endif
} net_weights;

/* Return the weights of a filter, unpacked to `scratch` where they are packed. */
static const int8_t *net_get_filter(const net_weights *weights, int32_t filter, int32_t count, int8_t *scratch)
{
#if NET_PACKED
    const int8_t *found = scratch;

    if (weights->packed == NULL) {
        found = &weights->values[filter * count];
    } else {
        const uint32_t bits = weights->bits;
        const uint32_t mask = (1U << bits) - 1U;
        const int32_t smallest = (int32_t)(1U << (bits - 1U));
        const int32_t size = (int32_t)(((uint32_t)count * bits) + 7U) / 8;
        const uint8_t *next = &weights->packed[filter * size];
        const int8_t *codebook = NULL;
        uint32_t held = 0U;
        uint32_t buffer = 0U;
        int32_t i;

        if (weights->values != NULL) {
            codebook = &weights->values[filter * (int32_t)weights->codebook_step];
        }
        for (i = 0; i < count; i++) {
            int32_t index;

            if (held < bits) {
                buffer |= (uint32_t)*next << held;
                next++;
                held += 8U;
            }
            index = (int32_t)(buffer & mask);
            buffer >>= bits;
            held -= bits;
            scratch[i] = (codebook != NULL) ? codebook[index] : (int8_t)(index - smallest);
        }
    }
    return found;
#else
    (void)scratch;
    return &weights->values[filter * count];
#endif
}
