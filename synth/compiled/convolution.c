/* Convolution with kernels of whole numbers, as `patina/synth/convolution.py` has OpenCV make it: tap after tap, in
   blocks of at most so many rows and columns. */

#include "taps.h"

/* `order_taps`, for kernels that NumPy has made. */
CLONED void patina_taps(const int32_t *y, const int32_t *x, const int32_t *weights, ptrdiff_t n, int32_t bits,
                        int32_t block, int32_t *places, float *ordered, int32_t *ends, int32_t *counts) {
    order_taps(y, x, weights, n, bits, block, places, ordered, ends, counts);
}

/* Eight floats that need not stand at a multiple of 32 bytes. */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));

#define EIGHTS 8 /* sums that stay in registers while taps go by, beside a weight and a product */

/* Adds one tap's products, of 8 · EIGHTS floats from `from` on. */
INLINE void add_products(eight *sums, const float *from, float weight) {
    const eight *values = (const eight *)from;
    for (int i = 0; i < EIGHTS; i++)
        sums[i] += weight * values[i];
}

/* 8 · EIGHTS floats of a row, of which `at` is where the kernel's first row and column lie. */
INLINE void convolve_eights(const float *at, ptrdiff_t stride, ptrdiff_t channels, const int32_t *places,
                            const float *weights, const int32_t *ends, ptrdiff_t blocks, float scale, float *out) {
    eight total[EIGHTS] = {{0}};
    int32_t tap = 0;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        eight sums[EIGHTS] = {{0}};
        for (; tap < ends[b]; tap++)
            add_products(sums, at + places[2 * tap] * stride + places[2 * tap + 1] * channels, weights[tap]);
        for (int i = 0; i < EIGHTS; i++)
            total[i] = total[i] + sums[i];
    }
    for (int i = 0; i < EIGHTS; i++)
        ((eight *)out)[i] = total[i] * scale;
}

/* One float. */
INLINE float convolve_one(const float *at, ptrdiff_t stride, ptrdiff_t channels, const int32_t *places,
                          const float *weights, const int32_t *ends, ptrdiff_t blocks) {
    float total = 0.0f;
    int32_t tap = 0;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        float sum = 0.0f;
        for (; tap < ends[b]; tap++)
            sum += weights[tap] * at[places[2 * tap] * stride + places[2 * tap + 1] * channels];
        total += sum;
    }
    return total;
}

/* Whether any of n floats is not 0. */
INLINE int any_light(const float *values, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (values[i] != 0.0f)
            return 1;
    return 0;
}

/* rows × (columns · channels) floats of a picture convolved with a kernel's taps as `order_taps` has them, times
   `scale`. `stride` and `out_stride`: floats from one row to the next. Where all that the kernel, side × side, sees is
   0, such as beside a shadow, nothing is added up. */
CLONED void patina_convolve(const float *framed, ptrdiff_t stride, ptrdiff_t channels, ptrdiff_t rows,
                            ptrdiff_t columns, ptrdiff_t side, const int32_t *places, const float *weights, const int32_t *ends,
                            ptrdiff_t blocks, float scale, float *out, ptrdiff_t out_stride) {
    const ptrdiff_t whole = columns * channels, wide = 8 * EIGHTS;
    for (ptrdiff_t left = 0; left < whole; left += wide) {
        const ptrdiff_t at = left + wide <= whole ? left : whole - wide; /* the last ones again, so that all are full */
        const ptrdiff_t first = at >= 0 ? at : 0, count = at >= 0 ? wide : whole;
        ptrdiff_t seen = 0, last = -1; /* rows that were looked at, and the last of them that is not all 0 */
        for (ptrdiff_t r = 0; r < rows; r++) {
            const float *from = framed + r * stride;
            float *to = out + r * out_stride;
            for (; seen < r + side; seen++)
                if (any_light(framed + seen * stride + first, count + (side - 1) * channels))
                    last = seen;
            if (last < r)
                for (ptrdiff_t i = first; i < first + count; i++)
                    to[i] = 0.0f;
            else if (at >= 0)
                convolve_eights(from + at, stride, channels, places, weights, ends, blocks, scale, to + at);
            else
                for (ptrdiff_t i = 0; i < whole; i++)
                    to[i] = convolve_one(from + i, stride, channels, places, weights, ends, blocks) * scale;
        }
    }
}

/* A place beyond 0..size - 1, brought back: mirrored, end pixels repeated, or to the end. */
INLINE ptrdiff_t within(ptrdiff_t place, ptrdiff_t size, int32_t to_end) {
    if (to_end && (place < 0 || place >= size))
        return place < 0 ? 0 : size - 1;
    return mirrored(place, size);
}

/* A picture of whole numbers, rows × columns × channels, convolved with a kernel of whole numbers that is its own
   mirror image from top to bottom, times `scale`; no sum is rounded, so they are made in another order: first those of
   two rows as far above and below. `places` are how many rows above, and the column, of the n taps of the upper half and
   the middle. Beyond the border lie mirrored pixels, or those of the end. `sums` has room for
   (reach + 1) · (columns + 2·reach) pixels. */
CLONED void patina_spread(const float *picture, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t channels, ptrdiff_t reach,
                          int32_t to_end, const int32_t *places, const float *weights, int32_t n, float scale,
                          float *sums, float *out) {
    const ptrdiff_t whole = columns * channels, wide = 8 * EIGHTS, stride = whole + 2 * reach * channels;
    const int32_t ends[1] = {n};
    for (ptrdiff_t r = 0; r < rows; r++) {
        for (ptrdiff_t apart = 0; apart <= reach; apart++) {
            const float *above = picture + within(r - apart, rows, to_end) * whole;
            const float *below = picture + within(r + apart, rows, to_end) * whole;
            float *sum = sums + apart * stride + reach * channels;
            if (apart)
                for (ptrdiff_t i = 0; i < whole; i++)
                    sum[i] = above[i] + below[i];
            else
                for (ptrdiff_t i = 0; i < whole; i++)
                    sum[i] = above[i];
            for (ptrdiff_t c = 1; c <= reach; c++)
                for (ptrdiff_t i = 0; i < channels; i++) {
                    sum[i - c * channels] = sum[i + within(-c, columns, to_end) * channels];
                    sum[whole + i + (c - 1) * channels] = sum[i + within(columns - 1 + c, columns, to_end) * channels];
                }
        }
        float *to = out + r * whole;
        for (ptrdiff_t left = 0; left < whole; left += wide) {
            const ptrdiff_t at = left + wide <= whole ? left : whole - wide;
            const ptrdiff_t first = at >= 0 ? at : 0, count = at >= 0 ? wide : whole;
            int any = 0;
            for (ptrdiff_t apart = 0; apart <= reach && !any; apart++)
                any = any_light(sums + apart * stride + first, count + 2 * reach * channels);
            if (!any)
                for (ptrdiff_t i = first; i < first + count; i++)
                    to[i] = 0.0f;
            else if (at >= 0)
                convolve_eights(sums + at, stride, channels, places, weights, ends, 1, scale, to + at);
            else
                for (ptrdiff_t i = 0; i < whole; i++)
                    to[i] = convolve_one(sums + i, stride, channels, places, weights, ends, 1) * scale;
        }
    }
}
