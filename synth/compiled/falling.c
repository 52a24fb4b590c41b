/* Traces of what falls, as `patina/synth/falling.py` draws them, and rain's layer over a picture. */

#include "common.h"
#include "tables.h"

#define RUN 64
#define TERMS 9

/* Beside it a number of 64 bits has no fraction. */
#define WHOLE_DOUBLE 6755399441055744.0

/* sin 2πx of x in whole turns, as `fast_sine` of elementary.py. */
INLINE float sine(float turns, const float *factors) {
    const float x = turns - nearest(turns), square = x * x;
    float total = square * factors[0];
    for (int i = 1; i < TERMS - 1; i++)
        total = (total + factors[i]) * square;
    return (total + factors[TERMS - 1]) * x;
}

/* Of `count` lines from the line `from` on: the share of a trace that lies in each, and the middle of what lies there, from
   -½ to ½ of the way `along` it, and `at` a place across. */
INLINE void pieces(int32_t from, int count, float start, float end, float middle, float density, float per_length,
                   float slope, float across, float most, float *along, float *share, float *at) {
    for (int k = 0; k < count; k++) {
        float upper = (float)(from + k), lower = upper + 1.0f;
        lower = lower < end ? lower : end;
        upper = upper > start ? upper : start;
        const float away = (upper + lower) * 0.5f - middle;
        share[k] = (lower - upper) * density;
        along[k] = away * per_length;
        at[k] = between(away * slope + across, 0.0f, most);
    }
}

/* Shares times level + fade·x⁴. */
INLINE void fading(const float *along, int count, float fade, float level, float *share) {
    for (int k = 0; k < count; k++) {
        const float square = along[k] * along[k];
        share[k] *= square * square * fade + level;
    }
}

/* Shares times that and base + glint·sin 2π(swings·x + turns). */
INLINE void glinting(const float *along, int count, float fade, float level, float swings, float turns, float glint,
                     float base, const float *factors, float *share) {
    for (int k = 0; k < count; k++) {
        const float square = along[k] * along[k];
        share[k] *= (sine(swings * along[k] + turns, factors) * glint + base) * (square * square * fade + level);
    }
}

/* Add n traces to `values`: to each line across a trace, a row or a column of pixels, the share of it that lies there,
   between the two pixels that are nearest.

   line, pixel     how far apart in `values` lines are, and the pixels of one; `most`: the last place of a pixel.
   first, counts   of each trace the first line and how many; start … across as `_Ways` of falling.py has them.
   fade, level     brightness along the way is level + fade·x⁴, x from -½ to ½.
   swings, turns   and that times base + glint·sin 2π(swings·x + turns), if they are given; `factors` of the sine.
   places, far     room for all points: the pixels that are farther get theirs when all nearer ones have. */
CLONED void patina_draw(float *values, ptrdiff_t line, ptrdiff_t pixel, float most, ptrdiff_t n, const int64_t *first,
                        const int64_t *counts, const float *start, const float *end, const float *middle,
                        const float *density, const float *per_length, const float *slope, const float *across, float fade,
                        float level, const float *swings, const float *turns, float glint, float base,
                        const float *factors, int32_t *places, float *far) {
    float along[RUN], share[RUN], at[RUN];
    ptrdiff_t points = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        for (int64_t from = first[i]; from < first[i] + counts[i]; from += RUN) {
            const int64_t left = first[i] + counts[i] - from;
            const int count = left < RUN ? (int)left : RUN;
            pieces((int32_t)from, count, start[i], end[i], middle[i], density[i], per_length[i], slope[i], across[i], most,
                   along, share, at);
            if (swings)
                glinting(along, count, fade, level, swings[i], turns[i], glint, base, factors, share);
            else
                fading(along, count, fade, level, share);
            for (int k = 0; k < count; k++) {
                const int32_t near = (int32_t)at[k];
                const ptrdiff_t place = (from + k + 1) * line + near * pixel;
                const float beyond = share[k] * (at[k] - (float)near);
                values[place] += share[k] - beyond;
                places[points] = (int32_t)(place + pixel);
                far[points++] = beyond;
            }
        }
    for (ptrdiff_t k = 0; k < points; k++)
        values[places[k]] += far[k];
}

/* The nearest of 0 to 255 to x/257, x ≤ 65535: 65281/2^24 is 1/257 and a part in 2^24 more. */
INLINE uint8_t level_of_word(uint32_t x) {
    return (uint8_t)((x + 128u) * 65281u >> 24);
}

/* n RGB pixels with a layer of rain, ≥ 0, 1 = 255, added to all three channels; in steps of 1/65535, then rounded to levels;
   and the layer in levels. */
CLONED void patina_rain(const uint8_t *rgb, const float *rain, ptrdiff_t n, uint8_t *out, uint8_t *layer) {
    uint32_t added[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        for (ptrdiff_t i = 0; i < count; i++) {
            const double exact = (double)rain[start + i] * 65535.0, held = exact < 65535.0 ? exact : 65535.0;
            added[i] = (uint32_t)(int32_t)((held + WHOLE_DOUBLE) - WHOLE_DOUBLE);
            layer[start + i] = level_of_word(added[i]);
        }
        for (ptrdiff_t i = 0; i < count; i++)
            for (int c = 0; c < 3; c++) {
                const ptrdiff_t place = 3 * (start + i) + c;
                const uint32_t sum = rgb[place] * 257u + added[i];
                out[place] = level_of_word(sum < 65535u ? sum : 65535u);
            }
    }
}
