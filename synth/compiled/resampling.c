/* Fields made larger, as `patina/synth/resampling.py` defines it. */

#include "common.h"

/* v[i] at `step` places from the middle of one pixel to that of the next, and at the ends level beyond them: `width`
   values of each of `channels`. */
INLINE void spread_row(const float *v, ptrdiff_t w, ptrdiff_t channels, ptrdiff_t step, ptrdiff_t width, float *out) {
    const float part = 0.5f / (float)step;
    ptrdiff_t x = 0;
    for (; x < step / 2 && x < width; x++)
        for (ptrdiff_t c = 0; c < channels; c++)
            out[x * channels + c] = v[c];
    ptrdiff_t j = 0;
    for (; j < w - 1 && x + step <= width; j++, x += step)
        for (ptrdiff_t k = 0; k < step; k++)
            for (ptrdiff_t c = 0; c < channels; c++) {
                const float share = (float)(2 * k + 1) * part, *near = v + j * channels + c;
                out[(x + k) * channels + c] = near[0] * (1.0f - share) + near[channels] * share;
            }
    for (ptrdiff_t k = 0; x < width; k++, x++)
        for (ptrdiff_t c = 0; c < channels; c++) {
            const float share = (float)(2 * k + 1) * part, *near = v + j * channels + c;
            out[x * channels + c] = j < w - 1 ? near[0] * (1.0f - share) + near[channels] * share : near[0];
        }
}

/* Rows `top` to `bottom`, and `width` columns, of whole numbers h×w×channels enlarged by `step` and multiplied by
   `factor`, a power of two: no sum is rounded. scratch: a row of the field. */
CLONED void patina_enlarged(const float *field, ptrdiff_t h, ptrdiff_t w, ptrdiff_t channels, ptrdiff_t step,
                            ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t width, float factor, float *scratch, float *out) {
    const ptrdiff_t n = w * channels;
    for (ptrdiff_t y = top; y < bottom; y++, out += width * channels) {
        const ptrdiff_t from = y - step / 2, j = from < 0 ? 0 : from / step < h - 1 ? from / step : h - 1;
        const ptrdiff_t below = from < 0 || j == h - 1 ? j : j + 1;
        const float share = from < 0 ? 0.0f : (float)(2 * (from % step) + 1) * (0.5f / (float)step);
        const float *a = field + j * n, *b = field + below * n;
        for (ptrdiff_t i = 0; i < n; i++)
            scratch[i] = (a[i] * (1.0f - share) + b[i] * share) * factor;
        if (channels == 1 && step == 8)
            spread_row(scratch, w, 1, 8, width, out);
        else if (channels == 1 && step == 4)
            spread_row(scratch, w, 1, 4, width, out);
        else if (channels == 1 && step == 2)
            spread_row(scratch, w, 1, 2, width, out);
        else
            spread_row(scratch, w, channels, step, width, out);
    }
}
