/* Fields made larger and smoother, as `patina/synth/resampling.py` defines it. */

#include <string.h>

#include "common.h"

#define MOST_TAPS 121

/* v[i] at `step` places from the middle of one pixel to that of the next, and at the ends level beyond them: `width`
   values. */
INLINE void spread_row(const float *v, ptrdiff_t w, ptrdiff_t step, ptrdiff_t width, float *out) {
    const float part = 0.5f / (float)step;
    ptrdiff_t x = 0;
    for (; x < step / 2 && x < width; x++)
        out[x] = v[0];
    ptrdiff_t j = 0;
    for (; j < w - 1 && x + step <= width; j++, x += step)
        for (ptrdiff_t k = 0; k < step; k++) {
            const float share = (float)(2 * k + 1) * part;
            out[x + k] = v[j] * (1.0f - share) + v[j + 1] * share;
        }
    for (ptrdiff_t k = 0; x < width; k++, x++) {
        const float share = (float)(2 * k + 1) * part;
        out[x] = j < w - 1 ? v[j] * (1.0f - share) + v[j + 1] * share : v[j];
    }
}

/* Rows `top` to `bottom`, and `width` columns, of whole numbers h×w enlarged by `step` and multiplied by `factor`, a power
   of two: no sum is rounded. scratch: a row of the field. */
CLONED void patina_enlarged(const float *field, ptrdiff_t h, ptrdiff_t w, ptrdiff_t step, ptrdiff_t top,
                            ptrdiff_t bottom, ptrdiff_t width, float factor, float *scratch, float *out) {
    for (ptrdiff_t y = top; y < bottom; y++, out += width) {
        const ptrdiff_t from = y - step / 2, j = from < 0 ? 0 : from / step < h - 1 ? from / step : h - 1;
        const ptrdiff_t below = from < 0 || j == h - 1 ? j : j + 1;
        const float share = from < 0 ? 0.0f : (float)(2 * (from % step) + 1) * (0.5f / (float)step);
        const float *a = field + j * w, *b = field + below * w;
        for (ptrdiff_t i = 0; i < w; i++)
            scratch[i] = (a[i] * (1.0f - share) + b[i] * share) * factor;
        if (step == 8) /* a number that the compiler knows: the row goes by vectors */
            spread_row(scratch, w, 8, width, out);
        else if (step == 4)
            spread_row(scratch, w, 4, width, out);
        else if (step == 2)
            spread_row(scratch, w, 2, width, out);
        else
            spread_row(scratch, w, step, width, out);
    }
}

/* x ≥ 0 rounded to 12 significant bits. */
INLINE float shortened(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + (1u << 11)) & ~((1u << 12) - 1);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Sums of taps[k]·rows[k][i], in the order of k, of n values. */
INLINE void weighted(const float *const *rows, const float *taps, ptrdiff_t count, ptrdiff_t n, float *restrict out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        float sum = taps[0] * rows[0][i];
        for (ptrdiff_t k = 1; k < count; k++)
            sum += taps[k] * rows[k][i];
        out[i] = sum;
    }
}

/* Eight taps more of many: the first of all begin with nothing. */
INLINE void eight_more(const float *const *rows, const float *taps, int is_first, ptrdiff_t n, float *restrict out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        float sum = is_first ? 0.0f : out[i];
        for (ptrdiff_t k = 0; k < 8; k++)
            sum += taps[k] * rows[k][i];
        out[i] = sum;
    }
}

/* The same of any number of taps: by a loop for each of the usual numbers, or eight at a time. */
INLINE void filtered(const float *const *rows, const float *taps, ptrdiff_t count, ptrdiff_t n, float *restrict out) {
    if (count == 3)
        weighted(rows, taps, 3, n, out);
    else if (count == 5)
        weighted(rows, taps, 5, n, out);
    else if (count == 7)
        weighted(rows, taps, 7, n, out);
    else {
        ptrdiff_t k = 0;
        for (; k + 8 <= count; k += 8)
            eight_more(rows + k, taps + k, k == 0, n, out);
        for (; k < count; k++)
            for (ptrdiff_t i = 0; i < n; i++)
                out[i] += taps[k] * rows[k][i];
    }
}

/* Rows `top` to `bottom` of a picture of values ≥ 0, shortened, filtered along both axes by 2·reach + 1 taps, reach ≤ 60,
   and multiplied by `factor`; shortened between, too. The picture is mirrored at its ends. `out` may lie in `in`: no row
   is read after it is written.

   in_stride, out_stride   values from a row to the next. scratch: (2·reach + 2) rows and 2·reach values. */
CLONED void patina_blurred(const float *in, ptrdiff_t in_stride, ptrdiff_t height, ptrdiff_t width, ptrdiff_t top,
                           ptrdiff_t bottom, const float *taps, ptrdiff_t reach, float factor, float *scratch, float *out,
                           ptrdiff_t out_stride) {
    const float *rows[MOST_TAPS];
    const ptrdiff_t count = 2 * reach + 1;
    float *framed = scratch + count * width;
    ptrdiff_t made = top > reach ? top - reach : 0;
    for (ptrdiff_t y = top; y < bottom; y++) {
        for (; made <= y + reach && made < height; made++) {
            const float *row = in + made * in_stride;
            float *to = scratch + made % count * width;
            for (ptrdiff_t x = 0; x < width; x++)
                framed[reach + x] = shortened(row[x]);
            for (ptrdiff_t x = 1; x <= reach; x++) {
                framed[reach - x] = framed[reach + mirrored(-x, width)];
                framed[reach + width - 1 + x] = framed[reach + mirrored(width - 1 + x, width)];
            }
            for (ptrdiff_t k = 0; k < count; k++)
                rows[k] = framed + k;
            filtered(rows, taps, count, width, to);
            for (ptrdiff_t x = 0; x < width; x++)
                to[x] = shortened(to[x]);
        }
        for (ptrdiff_t k = 0; k < count; k++)
            rows[k] = scratch + mirrored(y - reach + k, height) % count * width;
        float *to = out + (y - top) * out_stride;
        filtered(rows, taps, count, width, to);
        for (ptrdiff_t x = 0; x < width; x++)
            to[x] *= factor;
    }
}

/* Means of step×step levels, step ≥ 3, rounded as OpenCV does, halves to even.
   stride: bytes from a row to the next; h, w: of the result. sums: a row of the picture. */
CLONED void patina_averaged(const uint8_t *levels, ptrdiff_t stride, ptrdiff_t h, ptrdiff_t w, ptrdiff_t channels,
                            ptrdiff_t step, uint16_t *sums, uint8_t *out) {
    const ptrdiff_t n = w * step * channels;
    const float share = 1.0f / (float)(step * step);
    for (ptrdiff_t y = 0; y < h; y++) {
        for (ptrdiff_t i = 0; i < n; i++)
            sums[i] = levels[y * step * stride + i];
        for (ptrdiff_t k = 1; k < step; k++) {
            const uint8_t *row = levels + (y * step + k) * stride;
            for (ptrdiff_t i = 0; i < n; i++)
                sums[i] = (uint16_t)(sums[i] + row[i]);
        }
        for (ptrdiff_t x = 0; x < w; x++)
            for (ptrdiff_t c = 0; c < channels; c++) {
                const uint16_t *pixel = sums + x * step * channels + c;
                int32_t sum = 0;
                for (ptrdiff_t k = 0; k < step; k++)
                    sum += pixel[k * channels];
                *out++ = (uint8_t)(int32_t)nearest((float)sum * share);
            }
    }
}
