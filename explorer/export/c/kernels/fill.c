static void net_fill(net_tensor to, int32_t count, int32_t value)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        net_store(to, i, value);
    }
}
