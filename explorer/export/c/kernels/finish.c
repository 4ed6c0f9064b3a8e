static void net_finish(const net_scale *scale, net_tensor to, int32_t position, int32_t channel, int32_t sum)
{
    int32_t value = sum;

    if (scale->multipliers != NULL) {
        const int32_t entry = net_find_entry(scale, position, channel);

        value = net_rescale(scale, entry, (int64_t)sum * scale->multipliers[entry]);
    }
    net_store(to, (position * (int32_t)scale->channels) + channel, value);
}
