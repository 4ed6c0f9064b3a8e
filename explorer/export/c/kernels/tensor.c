/* Where integers lie: one of the two is NULL. */
typedef struct {
    uint8_t *codes;
    int32_t *sums;
} net_tensor;

static void net_store(net_tensor to, int32_t place, int32_t value)
{
    if (to.codes != NULL) {
        to.codes[place] = (uint8_t)value;
    } else {
        to.sums[place] = value;
    }
}
