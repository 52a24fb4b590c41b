/* PCG64's raw stream (O'Neill, "PCG", 2014), as NumPy's generator of that name gives it: a linear congruential generator
   of 128 bits, whose halves are xored and rotated by its highest six bits. */

#include "common.h"

typedef struct {
    uint64_t high, low;
} wide;

/* a·b + c modulo 2^128. */
#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 whole;

INLINE wide step(wide a, wide b, wide c) {
    const whole x = (whole)a.high << 64 | a.low, y = (whole)b.high << 64 | b.low, z = (whole)c.high << 64 | c.low;
    const whole found = x * y + z;
    const wide result = {(uint64_t)(found >> 64), (uint64_t)found};
    return result;
}
#else
INLINE wide step(wide a, wide b, wide c) {
    const uint64_t half = 0xffffffffu, a0 = a.low & half, a1 = a.low >> 32, b0 = b.low & half, b1 = b.low >> 32;
    const uint64_t lower = a0 * b0, across = a1 * b0 + (lower >> 32), other = a0 * b1 + (across & half);
    wide result = {a1 * b1 + (across >> 32) + (other >> 32) + a.high * b.low + a.low * b.high, a.low * b.low};
    result.low += c.low;
    result.high += c.high + (result.low < c.low);
    return result;
}
#endif

INLINE uint64_t output(wide state) {
    const uint64_t x = state.high ^ state.low;
    const unsigned turn = (unsigned)(state.high >> 58);
    return x >> turn | x << (-turn & 63);
}

/* n words from the state and increment {high, low, high, low}. Two of them are made at a time, each two steps from the one
   before it, since a step waits for the one before. */
CLONED void patina_random(const uint64_t *start, ptrdiff_t n, uint64_t *out) {
    const wide factor = {0x2360ed051fc65da4u, 0x4385df649fccf645u}, more = {start[2], start[3]}, none = {0, 0};
    const wide factor_of_two = step(factor, factor, none), more_of_two = step(factor, more, more);
    const wide state = {start[0], start[1]};
    wide one = step(state, factor, more), two = step(one, factor, more);
    ptrdiff_t i = 0;
    for (; i + 1 < n; i += 2) {
        out[i] = output(one);
        out[i + 1] = output(two);
        one = step(one, factor_of_two, more_of_two);
        two = step(two, factor_of_two, more_of_two);
    }
    if (i < n)
        out[i] = output(one);
}
