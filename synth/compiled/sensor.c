/* What a camera does to light, as `patina/synth/sensor.py` defines it. */

#include <math.h>

#include "common.h"
#include "tables.h"

/* Red, green and blue of n pixels' levels, by a table of 256, times a matrix of 3×3. */
CLONED void patina_unprocess(const uint8_t *rgb, ptrdiff_t n, const float *table, const float *matrix, float *red,
                             float *green, float *blue) {
    float r[BLOCK], g[BLOCK], b[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        for (ptrdiff_t i = 0; i < count; i++) {
            const uint8_t *pixel = rgb + 3 * (start + i);
            r[i] = table[pixel[0]];
            g[i] = table[pixel[1]];
            b[i] = table[pixel[2]];
        }
        for (ptrdiff_t i = 0; i < count; i++) {
            red[start + i] = (r[i] * matrix[0] + g[i] * matrix[1]) + b[i] * matrix[2];
            green[start + i] = (r[i] * matrix[3] + g[i] * matrix[4]) + b[i] * matrix[5];
            blue[start + i] = (r[i] * matrix[6] + g[i] * matrix[7]) + b[i] * matrix[8];
        }
    }
}

/* One colour of n pixels times a row of a matrix, rounded to 16 bits. */
INLINE void developed(const float *red, const float *green, const float *blue, ptrdiff_t n, const float *row,
                      uint16_t *out) {
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (uint16_t)word_of((red[i] * row[0] + green[i] * row[1]) + blue[i] * row[2]);
}

/* Planes of n pixels times a matrix of 3×3, rounded to 16 bits. */
CLONED void patina_develop(const float *red, const float *green, const float *blue, ptrdiff_t n, const float *matrix,
                           uint16_t *r, uint16_t *g, uint16_t *b) {
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        developed(red + start, green + start, blue + start, count, matrix, r + start);
        developed(red + start, green + start, blue + start, count, matrix + 3, g + start);
        developed(red + start, green + start, blue + start, count, matrix + 6, b + start);
    }
}

/* The same, and then a table of bytes at each: levels, side by side. */
CLONED void patina_develop_levels(const float *red, const float *green, const float *blue, ptrdiff_t n,
                                  const float *matrix, const uint8_t *table, uint8_t *out) {
    uint16_t words[3][BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        uint8_t *to = out + 3 * start;
        for (int c = 0; c < 3; c++)
            developed(red + start, green + start, blue + start, count, matrix + 3 * c, words[c]);
        for (ptrdiff_t i = 0; i < count; i++)
            for (int c = 0; c < 3; c++)
                to[3 * i + c] = table[words[c][i]];
    }
}

/* The root of shot·light + constant times `scale`, rounded to 16 bits, of n values. */
CLONED void patina_noise_map(const float *light, ptrdiff_t n, float shot, float constant, float scale, uint16_t *out) {
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (uint16_t)word_of(sqrtf(light[i] * shot + constant) * scale);
}

/* One row of white noise: an entry of a table for each word, times the root of shot·light + constant. */
INLINE void grain(const float *light, const uint16_t *words, ptrdiff_t width, const float *table, float shot,
                  float constant, float *out) {
    for (ptrdiff_t c = 0; c < width; c++)
        out[c] = table[words[c]];
    for (ptrdiff_t c = 0; c < width; c++)
        out[c] *= sqrtf(light[c] * shot + constant);
}

/* Light of `count` rows and its noise: white noise filtered along both axes by 1 and `far`, and each row's own offset;
   held to low..high.

   light, words   `rows` rows: those, and a row more after them (`forwards`) or before them, which gives the far part of
                  the noise, unless the picture ends there: then the end repeats itself.
   scratch        three rows and a value. */
CLONED void patina_sense(const float *light, const uint16_t *words, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t count,
                         int32_t forwards, const float *table, float shot, float constant, float far,
                         const float *offsets, float low, float high, float *scratch, float *out) {
    float *white[2] = {scratch, scratch + width};
    float *v = scratch + 2 * width + (forwards ? 0 : 1), *w = forwards ? v + 1 : v - 1;
    ptrdiff_t made = 0;
    for (ptrdiff_t r = 0; r < count; r++) {
        const ptrdiff_t own = forwards ? r : r + rows - count;
        const ptrdiff_t other = forwards ? (own + 1 < rows ? own + 1 : own) : (own > 0 ? own - 1 : own);
        for (; made <= own || made <= other; made++)
            grain(light + made * width, words + made * width, width, table, shot, constant, white[made % 2]);
        const float *x = white[own % 2], *y = white[other % 2], *here = light + own * width;
        float *to = out + r * width;
        for (ptrdiff_t c = 0; c < width; c++)
            v[c] = x[c] + y[c] * far;
        if (forwards)
            v[width] = v[width - 1];
        else
            w[0] = v[0];
        for (ptrdiff_t c = 0; c < width; c++)
            to[c] = between(((v[c] + w[c] * far) + offsets[r]) + here[c], low, high);
    }
}

/* Raw light of n values, `times` as much of it, to 1 at the most, in place. By a camera whose response bends over to white
   from 1 − shoulder on to 1 + shoulder, `from` and `last`, and that has bent what is given; shoulder 0: it does not. */
CLONED void patina_more_light(float *raw, ptrdiff_t n, float times, float shoulder, float from, float last,
                              float per_shoulder, float per_two_shoulders) {
    const float back = -2.0f * shoulder;
    for (ptrdiff_t i = 0; i < n; i++) {
        float light = raw[i];
        if (shoulder > 0.0f) {
            const float left = 1.0f - light, held = left > 0.0f ? left : 0.0f;
            const float unbent = sqrtf(held * per_shoulder) * back + last;
            light = light > from ? unbent : light;
        }
        light *= times;
        if (shoulder > 0.0f) {
            const float left = last - light, share = (left > 0.0f ? left : 0.0f) * per_two_shoulders;
            const float bent = share * share * -shoulder + 1.0f;
            light = light > from ? bent : light;
        }
        raw[i] = light < 1.0f ? light : 1.0f;
    }
}
