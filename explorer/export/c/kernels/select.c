/* Entries `indices` along an axis, each of `inner` integers, for each of `outer` in front of it. */
typedef struct {
    const uint16_t *indices;
    uint32_t outer;
    uint32_t inner;
    uint16_t count;
    uint16_t from_count;
} net_selection;

static void net_select(const net_selection *selection, net_tensor from, net_tensor to)
{
    uint32_t place = 0U;
    uint32_t before;
    uint32_t i;
    uint32_t behind;

    for (before = 0U; before < selection->outer; before++) {
        for (i = 0U; i < selection->count; i++) {
            const uint32_t entry = (before * selection->from_count) + selection->indices[i];

            for (behind = 0U; behind < selection->inner; behind++) {
                net_store(to, (int32_t)place, net_load(from, (int32_t)((entry * selection->inner) + behind)));
                place++;
            }
        }
    }
}
