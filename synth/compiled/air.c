/* Depth from a photograph, and air before it, as `patina/synth/depth.py` and `air.py` define them. */

#include <string.h>

#include "common.h"
#include "tables.h"

/* A table of 65,536 floats at the multiples of n values by `count`, rounded. */
CLONED void patina_rough(const float *x, ptrdiff_t n, float count, const float *table, float *out) {
    int32_t places[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t size = block_of(n, start);
        for (ptrdiff_t i = 0; i < size; i++)
            places[i] = word_of(x[start + i] * count);
        for (ptrdiff_t i = 0; i < size; i++)
            out[start + i] = table[places[i]];
    }
}

/* The same, and of a table of 16 bits as well. */
CLONED void patina_rough_share(const float *x, ptrdiff_t n, float count, const float *table, const uint16_t *shares,
                               float *out, uint16_t *stored) {
    int32_t places[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t size = block_of(n, start);
        for (ptrdiff_t i = 0; i < size; i++)
            places[i] = word_of(x[start + i] * count);
        for (ptrdiff_t i = 0; i < size; i++) {
            out[start + i] = table[places[i]];
            stored[start + i] = shares[places[i]];
        }
    }
}

/* n values times `factor`, rounded to 16 bits. */
CLONED void patina_to_words(const float *x, ptrdiff_t n, float factor, uint16_t *out) {
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (uint16_t)word_of(x[i] * factor);
}

/* x^power of a block, 1 ≤ x < 65536 and powers from -1 to 0, by tables of logarithms and of the exponential. */
INLINE void powers(const float *x, const float *power, ptrdiff_t n, const float *logs, const float *exps, float *out) {
    int32_t places[BLOCK];
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        places[i] = (bits - 0x3F800000) >> 11 & 0xFFFF;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = logs[places[i]];
    for (ptrdiff_t i = 0; i < n; i++)
        places[i] = word_of(out[i] * power[i]);
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = exps[places[i]];
}

/* The same of n values. */
CLONED void patina_rough_power(const float *x, const float *power, ptrdiff_t n, const float *logs, const float *exps,
                               float *out) {
    for (ptrdiff_t start = 0; start < n; start += BLOCK)
        powers(x + start, power + start, block_of(n, start), logs, exps, out + start);
}

/* Grey of RGB levels, 0 to 1: OpenCV's whole numbers for BT.601. */
INLINE void grey_of(const uint8_t *rgb, ptrdiff_t n, float *grey) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t sum = rgb[3 * i] * 9798 + rgb[3 * i + 1] * 19235 + rgb[3 * i + 2] * 3735;
        grey[i] = (float)((sum + (1 << 14)) >> 15) * (float)(1 / 255.0);
    }
}

/* Metres of n pixels whose nearness is slope·grey + offset, held to least..most, in parts of 1/farthest.

   slope, offset             replaced: by the metres, and by nothing of use.
   n_sky                     so many of them, the first, are taken to the sky by the way that the others tell:
   sky_slope, sky_offset     of grey, a share less 1 of that way,
   cover                     or that, if it is more. */
CLONED void patina_depths(const uint8_t *rgb, ptrdiff_t n, float *slope, const float *offset, float least, float most,
                          float farthest, ptrdiff_t n_sky, const float *sky_slope, const float *sky_offset,
                          const float *cover, const float *logs, const float *exps) {
    float grey[BLOCK], near[BLOCK], share[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        float *out = slope + start;
        grey_of(rgb + 3 * start, count, grey);
        for (ptrdiff_t i = 0; i < count; i++)
            near[i] = between(out[i] * grey[i] + offset[start + i], least, most);
        ptrdiff_t sky = n_sky - start;
        sky = sky < 0 ? 0 : sky < count ? sky : count;
        if (sky) {
            const float *a = sky_slope + start, *b = sky_offset + start, *c = cover + start;
            for (ptrdiff_t i = 0; i < sky; i++) {
                const float found = a[i] * grey[i] + b[i];
                share[i] = between(found > c[i] ? found : c[i], -1.0f, 0.0f);
            }
            powers(near, share, sky, logs, exps, out);
            for (ptrdiff_t i = 0; i < sky; i++)
                out[i] *= farthest;
        }
        for (ptrdiff_t i = sky; i < count; i++)
            out[i] = farthest / near[i];
    }
}

/* Metres of full density before pixels of this depth, rows×width.

   rise     of the first `above` rows: their rays rise out of the air, whose thinning a table tells, `steps` to a unit.
   banks    factors of density, or none. */
CLONED void patina_way(const float *depth, ptrdiff_t rows, ptrdiff_t width, const float *rise, ptrdiff_t above, float steps,
                       const float *decay, const float *banks, float *out) {
    int32_t places[BLOCK];
    for (ptrdiff_t r = 0; r < rows; r++) {
        const float *in = depth + r * width;
        float *to = out + r * width;
        if (r < above)
            for (ptrdiff_t start = 0; start < width; start += BLOCK) {
                const ptrdiff_t count = block_of(width, start);
                for (ptrdiff_t i = 0; i < count; i++)
                    places[i] = word_of(in[start + i] * rise[r] * steps);
                for (ptrdiff_t i = 0; i < count; i++)
                    to[start + i] = in[start + i] * decay[places[i]];
            }
        else
            memcpy(to, in, (size_t)width * sizeof *to);
        if (banks)
            for (ptrdiff_t i = 0; i < width; i++)
                to[i] *= banks[r * width + i];
    }
}

/* Light of rows×width pixels seen through air of this thickness: Koschmieder's law, light·t + air·(1 − t).

   lights   of red, green and blue, that of each level: 256 floats each.
   counts   by which the thickness is multiplied for each colour, to be looked up in the table of t, `decay`.
   beside   what the air's brightness is made of for each column, of red, then green, then blue, and `below` for each
            row.
   stored   the truth map of green's share, by a table of 16 bits.
   planes   where red, then green, then blue go, rows×width each; or `levels`, where they go side by side as levels, by a
            table of bytes for light from 0 to 1. */
CLONED void patina_through_air(const uint8_t *rgb, ptrdiff_t rows, ptrdiff_t width, const float *lights,
                               const float *thickness, const float *counts, const float *decay, const float *beside,
                               const float *below, const uint16_t *shares, uint16_t *stored, float *planes,
                               const uint8_t *table, uint8_t *levels) {
    int32_t places[BLOCK];
    float light[BLOCK], share[BLOCK], seen[BLOCK];
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t start = 0; start < width; start += BLOCK) {
            const ptrdiff_t count = block_of(width, start), from = r * width + start;
            for (int c = 0; c < 3; c++) {
                const float *colour = lights + 256 * c, *across = beside + c * width + start;
                const float along = below[c * rows + r];
                const uint8_t *level = rgb + 3 * from + c;
                if (c == 0 || counts[c] != counts[c - 1]) {
                    for (ptrdiff_t i = 0; i < count; i++)
                        places[i] = word_of(thickness[from + i] * counts[c]);
                    for (ptrdiff_t i = 0; i < count; i++)
                        share[i] = decay[places[i]];
                    if (c <= 1)
                        for (ptrdiff_t i = 0; i < count; i++)
                            stored[from + i] = shares[places[i]];
                }
                for (ptrdiff_t i = 0; i < count; i++)
                    light[i] = colour[level[3 * i]];
                for (ptrdiff_t i = 0; i < count; i++) {
                    const float air = along + across[i];
                    seen[i] = (light[i] - air) * share[i] + air;
                }
                if (levels) {
                    int32_t entries[BLOCK];
                    places_of(seen, count, entries);
                    for (ptrdiff_t i = 0; i < count; i++)
                        levels[3 * (from + i) + c] = table[entries[i]];
                } else
                    memcpy(planes + c * rows * width + from, seen, (size_t)count * sizeof *seen);
            }
        }
}

/* Koschmieder's law of n values, in place: light·share + air·(1 − share), where the air is even, or as bright as `airs`
   says. */
CLONED void patina_seen_through(float *light, const float *share, ptrdiff_t n, const float *airs, float even) {
    if (airs)
        for (ptrdiff_t i = 0; i < n; i++)
            light[i] = (light[i] - airs[i]) * share[i] + airs[i];
    else
        for (ptrdiff_t i = 0; i < n; i++)
            light[i] = (light[i] - even) * share[i] + even;
}
