/* Latencies, counted in buckets of 1.6 %: 64 to each power of two nanoseconds. */
#ifndef LATENCY_H
#define LATENCY_H

#include <stdint.h>

void record(uint64_t nanoseconds);

/* The latency in microseconds that the given part (0 to 1) of the records do not exceed; 0 without records. */
double quantile_us(double part);

/* The longest of all, in microseconds. */
double longest_us(void);

#endif
