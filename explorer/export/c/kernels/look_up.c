/* Any function of a code, an entry for each. */
static void net_look_up(const uint8_t *table, int32_t count, net_tensor from, net_tensor to)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        to.codes[i] = table[from.codes[i]];
    }
}
