/* What all files of this folder share. Everything here computes the same bits as the NumPy code that it stands in for:
   each operation on its own, in the same order, never fused (-ffp-contract=off), or whole numbers that float32 holds. */

#ifndef PATINA_COMMON_H
#define PATINA_COMMON_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
