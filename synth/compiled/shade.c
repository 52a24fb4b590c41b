/* What `patina/synth/degradations/shadowed.py` makes of pixels in the shadow. */

#include "encoded.h"

/* rows × width levels with a part of the sun hidden, in place: I = J·(1 - m·(1 - f)) - m·f·x in linear light where the
   matte m is not 0, nowhere brighter than J; and the matte as 16 bits, `stored`. `hidden` is m, its rows `stride` floats
   apart; `suns` are 1 - f and `losses` f·x of red, green and blue. `light`: of the 256 levels; `encoded`: of light back
   to levels. */
CLONED void patina_in_shadow(uint8_t *pixels, ptrdiff_t rows, ptrdiff_t width, const float *hidden, ptrdiff_t stride,
                             const float *suns, const float *losses, const float *light, const uint8_t *encoded,
                             uint16_t *stored) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        uint8_t *pixel = pixels + r * 3 * width;
        uint16_t *share = stored + r * width;
        const float *row = hidden + r * stride;
        for (ptrdiff_t c = 0; c < width; c++)
            share[c] = stored_share(row[c]);
        for (ptrdiff_t c = 0; c < width; c++) {
            if (!share[c])
                continue;
            const float matte = (float)share[c] * (1.0f / 65535.0f);
            for (int i = 0; i < 3; i++) {
                const uint8_t level = pixel[3 * c + i];
                const float shaded = light[level] * (1.0f - matte * suns[i]) - matte * losses[i];
                const uint8_t found = level_of(shaded, encoded);
                pixel[3 * c + i] = found < level ? found : level;
            }
        }
    }
}
