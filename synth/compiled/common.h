/* What all files of this folder share. Everything here computes the same bits as the NumPy code that it stands in for:
   each operation on its own, in the same order, never fused (-ffp-contract=off), or whole numbers that float32 holds. */

#ifndef PATINA_COMMON_H
#define PATINA_COMMON_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>

#if PTRDIFF_MAX != INT64_MAX
#error "numbers of NumPy's own size have 64 bits here, and not on this system"
#endif

#if FLT_EVAL_METHOD != 0
#error "float32 is computed with more bits here, so that results would differ"
#endif

/* One more version of a function for processors with AVX2, chosen when the library is loaded. */
#ifdef PATINA_CLONES
#define CLONED __attribute__((target_clones("avx2", "default")))
#else
#define CLONED
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* The nearest whole number, halves to even, of |x| < 2^22: as np.rint has it, but that -0 is 0. */
INLINE float nearest(float x) {
    return (x + 12582912.0f) - 12582912.0f;
}

/* x held to low..high; low if x is no number. */
INLINE float between(float x, float low, float high) {
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* The row or column of 0..n - 1 that stands for row x where a picture is mirrored at its ends, those repeated. */
INLINE ptrdiff_t mirrored(ptrdiff_t x, ptrdiff_t n) {
    while (x < 0 || x >= n)
        x = x < 0 ? -1 - x : 2 * n - 1 - x;
    return x;
}

#endif
