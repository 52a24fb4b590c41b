/* Drops of water on a pane, as `patina/synth/droplets.py` adds them up, and what is seen behind it. */

#include "tables.h"

#define BAND 16 /* rows whose drops are looked up together */

/* Adds to three fields, rows × cols floats each, the drops from `first` to `end`: to `total` the product of a drop's
   values along both axes, and to `right` and `down` that times how far away its middle is. A pixel's sums are doubles,
   drop by drop, added to the fields at the last. A drop's `counts` values along an axis begin at its `starts` and belong
   to the pixels from its `firsts` on. `sums`: room for 3 · cols doubles; `near`: for a number of each drop. */
CLONED void patina_add_drops(float *total, float *right, float *down, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t first,
                             ptrdiff_t end, const int64_t *column_starts, const int64_t *column_counts,
                             const int64_t *column_firsts, const float *column_values, const float *column_away,
                             const int64_t *line_starts, const int64_t *line_counts, const int64_t *line_firsts,
                             const float *line_values, const float *line_away, double *sums, int32_t *near) {
    double *right_sums = sums + cols, *down_sums = sums + 2 * cols;
    ptrdiff_t found = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        if (r % BAND == 0) {
            found = 0;
            for (ptrdiff_t d = first; d < end; d++)
                if (line_firsts[d] < r + BAND && line_firsts[d] + line_counts[d] > r)
                    near[found++] = (int32_t)d;
        }
        ptrdiff_t left = cols, beyond = 0; /* the columns that any drop reaches */
        for (ptrdiff_t i = 0; i < found; i++) {
            const ptrdiff_t d = near[i], line = r - line_firsts[d];
            if (line < 0 || line >= line_counts[d])
                continue;
            const float value = line_values[line_starts[d] + line], away = line_away[line_starts[d] + line];
            const float *values = column_values + column_starts[d], *aways = column_away + column_starts[d];
            const ptrdiff_t from = column_firsts[d], count = column_counts[d];
            if (left > beyond)
                left = beyond = from;
            for (; left > from; left--)
                sums[left - 1] = right_sums[left - 1] = down_sums[left - 1] = 0.0;
            for (; beyond < from + count; beyond++)
                sums[beyond] = right_sums[beyond] = down_sums[beyond] = 0.0;
            for (ptrdiff_t c = 0; c < count; c++) {
                const float weight = value * values[c];
                sums[from + c] += (double)weight;
                right_sums[from + c] += (double)(weight * aways[c]);
                down_sums[from + c] += (double)(weight * away);
            }
        }
        for (ptrdiff_t c = left; c < beyond; c++) {
            total[r * cols + c] = (float)((double)total[r * cols + c] + sums[c]);
            right[r * cols + c] = (float)((double)right[r * cols + c] + right_sums[c]);
            down[r * cols + c] = (float)((double)down[r * cols + c] + down_sums[c]);
        }
    }
}

/* rows × width levels behind a pane, in place: I = (1 - M)·J + R in linear light where M is not 0, and M as 16 bits,
   `drops`. `covers` is M, `views` is R; rows of theirs are `cover_stride` and `view_stride` floats apart, rows of pixels
   3 · width bytes. `light`: of the 256 levels; `encoded`: of light back to levels. */
CLONED void patina_behind_drops(uint8_t *pixels, ptrdiff_t rows, ptrdiff_t width, const float *covers,
                                ptrdiff_t cover_stride, const float *views, ptrdiff_t view_stride, const float *light,
                                const uint8_t *encoded, uint16_t *drops) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        uint8_t *pixel = pixels + r * 3 * width;
        uint16_t *stored = drops + r * width;
        const float *cover = covers + r * cover_stride, *view = views + r * view_stride;
        for (ptrdiff_t c = 0; c < width; c++)
            stored[c] = (uint16_t)word_of(cover[c] * 65535.0f);
        for (ptrdiff_t c = 0; c < width; c++) {
            if (!stored[c])
                continue;
            const float dry = (float)stored[c] * (-1.0f / 65535.0f) + 1.0f;
            for (ptrdiff_t i = 3 * c; i < 3 * c + 3; i++)
                pixel[i] = encoded[place_of(light[pixel[i]] * dry + view[i])];
        }
    }
}

/* The surface of water from the sums of drops' fields over rows × cols = n pixels. `cover` is the logarithm of `total`,
   and becomes what water covers, 0..1: plus `wander`, times `steep`, plus a half. Where it is above 0, in turn: the
   place, and the slopes to the right and down, which are `right` and `down` over `total`, and steeper by `sag` at a
   drop's foot; and in one number how many they are. */
CLONED void patina_surface(const float *total, const float *right, const float *down, const float *wander, ptrdiff_t n,
                           float steep, float sag, float half_sag, float *cover, ptrdiff_t *places, float *slope_right,
                           float *slope_down, int64_t *count) {
    ptrdiff_t found = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        cover[i] = between((cover[i] + wander[i]) * steep + 0.5f, 0.0f, 1.0f);
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        if (!(cover[i] > 0.0f))
            continue;
        const float across = right[i] / total[i], along = down[i] / total[i];
        float bulge = (1.0f - across * across) - along * along;
        bulge = bulge > 0.0f ? bulge : 0.0f;
        const float lean = 1.0f + sag * along;
        places[found] = i;
        slope_right[found] = across * lean;
        slope_down[found++] = along * lean - half_sag * bulge;
    }
    *count = found;
}

/* What is seen through the water at n places of a field of `cols` columns, in linear light: `scene`, high × wide pixels
   of whole numbers, where `aim_x` and `aim_y` say for its column and row, moved by its slope times `swing`, to the
   nearest 1/32 pixel; times `shine`, `cover` and `unit`, and what is not let through shows `gloom`. `swing` and `shine`
   are of squared slopes in steps of 1/1000, 1024 of them. */
CLONED void patina_refracted(const float *scene, ptrdiff_t high, ptrdiff_t wide, const ptrdiff_t *places, ptrdiff_t n,
                             ptrdiff_t cols, const float *right, const float *down, const float *cover,
                             const float *aim_x, const float *aim_y, const float *swing, const float *shine, float unit,
                             const float *gloom, float *seen) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const ptrdiff_t row = places[i] / cols, column = places[i] % cols;
        const float slope = (right[i] * right[i] + down[i] * down[i]) * 1000.0f;
        const int32_t step = slope < 1023.0f ? (int32_t)slope : 1023;
        const int32_t x = (int32_t)nearest((aim_x[column] - swing[step] * right[i]) * 32.0f);
        const int32_t y = (int32_t)nearest((aim_y[row] - swing[step] * down[i]) * 32.0f);
        const int32_t beside = x & 31, below = y & 31;
        ptrdiff_t left = (x - beside) / 32, top = (y - below) / 32, next = left + 1, under = top + 1;
        if (left < 0 || top < 0 || next >= wide || under >= high) {
            left = mirrored(left, wide);
            next = mirrored(next, wide);
            top = mirrored(top, high);
            under = mirrored(under, high);
        }
        const float across = (float)beside * (1.0f / 32.0f), along = (float)below * (1.0f / 32.0f);
        const float *upper = scene + 3 * top * wide, *lower = scene + 3 * under * wide;
        const float wet = cover[places[i]], shown = shine[step] * wet, factor = shown * unit, dark = wet - shown;
        for (ptrdiff_t c = 0; c < 3; c++) { /* nothing is rounded until `factor` */
            const float above = upper[3 * left + c] + (upper[3 * next + c] - upper[3 * left + c]) * across;
            const float foot = lower[3 * left + c] + (lower[3 * next + c] - lower[3 * left + c]) * across;
            seen[3 * places[i] + c] = (above + (foot - above) * along) * factor + dark * gloom[c];
        }
    }
}
