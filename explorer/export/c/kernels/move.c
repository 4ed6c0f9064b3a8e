/* A copy of entries along five axes, and how far apart these are in both tensors. */
typedef struct {
    uint32_t from_start;
    uint32_t to_start;
    uint32_t sizes[5];
    uint32_t from_steps[5];
    uint32_t to_steps[5];
} net_moves;

static void net_move(const net_moves *moves, net_tensor from, net_tensor to)
{
    uint32_t at[5] = {0U, 0U, 0U, 0U, 0U};
    uint32_t read = moves->from_start;
    uint32_t write = moves->to_start;
    int32_t axis = 0;

    while (axis >= 0) { /* counts as a clock does, its fastest hand at the end */
        net_store(to, (int32_t)write, net_load(from, (int32_t)read));
        axis = 4;
        while (axis >= 0) {
            at[axis]++;
            read += moves->from_steps[axis];
            write += moves->to_steps[axis];
            if (at[axis] < moves->sizes[axis]) {
                break;
            }
            read -= at[axis] * moves->from_steps[axis];
            write -= at[axis] * moves->to_steps[axis];
            at[axis] = 0U;
            axis--;
        }
    }
}
