#include "latency.h"

enum { BUCKETS = 58 * 64 + 64 };

static uint64_t histogram[BUCKETS];
static uint64_t recorded, longest;

void record(uint64_t nanoseconds)
{
    unsigned shift = nanoseconds < 128 ? 0 : (unsigned)(57 - __builtin_clzll(nanoseconds));
    histogram[shift * 64 + (nanoseconds >> shift)]++;
    recorded++;
    if (nanoseconds > longest)
        longest = nanoseconds;
}

static uint64_t middle_of(unsigned bucket)
{
    unsigned shift = bucket < 128 ? 0 : bucket / 64 - 1;
    return ((uint64_t)(bucket - shift * 64) << shift) + ((UINT64_C(1) << shift) >> 1);
}

double quantile_us(double part)
{
    uint64_t rank = (uint64_t)((double)recorded * part), seen = 0;
    for (unsigned bucket = 0; recorded && bucket < BUCKETS; bucket++) {
        seen += histogram[bucket];
        if (seen > rank) {
            uint64_t middle = middle_of(bucket);
            return (double)(middle < longest ? middle : longest) / 1e3;
        }
    }
    return longest_us();
}

double longest_us(void)
{
    return (double)longest / 1e3;
}
