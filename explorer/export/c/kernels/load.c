static int32_t net_load(net_tensor from, int32_t place)
{
    return (from.codes != NULL) ? (int32_t)from.codes[place] : from.sums[place];
}
