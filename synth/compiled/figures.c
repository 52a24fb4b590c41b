/* SSIM by Gaussian windows and the luma Y, as `patina/synth/figures.py` defines them. */

#include "common.h"
#include "sums.h"

#define SIDE 11
#define WIDEST 1024
#define MIDDLE 128.0f
#define WHOLE 1024.0f

/* TAPS of figures.py, the middle one last: the others stand on both sides of it. */
static const float TAPS[6] = {1.0f, 8.0f, 37.0f, 111.0f, 219.0f, 272.0f};

/* The Gaussian means of one row of windows, from sums down the columns of `width` pixels. */
INLINE void across(const float *sums, float *means, ptrdiff_t width, float scale) {
    const float share = scale / (WHOLE * WHOLE);
    for (ptrdiff_t c = 0; c < width - SIDE + 1; c++) {
        const float *s = sums + c;
        float sum = TAPS[5] * s[5];
        for (int i = 0; i < 5; i++)
            sum += TAPS[i] * (s[i] + s[SIDE - 1 - i]);
        means[c] = sum * share;
    }
}

/* Sums down the columns of eleven rows of x - 128, rounded to steps of scale/WHOLE. */
INLINE void down_levels(const uint8_t *x, ptrdiff_t stride, float *sums, ptrdiff_t width) {
    for (ptrdiff_t c = 0; c < width; c++) {
        float sum = TAPS[5] * (float)(x[5 * stride + c] - 128);
        for (int i = 0; i < 5; i++)
            sum += TAPS[i] * (float)(x[i * stride + c] + x[(SIDE - 1 - i) * stride + c] - 256);
        sums[c] = nearest(sum * (MIDDLE / WHOLE));
    }
}

/* The same of (x - 128)(y - 128). */
INLINE void down_products(const uint8_t *x, ptrdiff_t xs, const uint8_t *y, ptrdiff_t ys, float *sums, ptrdiff_t width) {
    for (ptrdiff_t c = 0; c < width; c++) {
        float sum = TAPS[5] * (float)((x[5 * xs + c] - 128) * (y[5 * ys + c] - 128));
        for (int i = 0; i < 5; i++) {
            const int last = SIDE - 1 - i;
            sum += TAPS[i] * (float)((x[i * xs + c] - 128) * (y[i * ys + c] - 128) +
                                     (x[last * xs + c] - 128) * (y[last * ys + c] - 128));
        }
        sums[c] = nearest(sum * (1.0f / WHOLE));
    }
}

/* Windows' means less 128 and their variances + c2, rows × width floats each, of a clean image's levels. */
CLONED void patina_ssim_clean(const uint8_t *x, ptrdiff_t stride, ptrdiff_t width, ptrdiff_t rows, ptrdiff_t step, float c2,
                              float *means, float *spread) {
    float sums[WIDEST];
    for (ptrdiff_t r = 0; r < rows; r++) {
        const uint8_t *top = x + r * step * stride;
        float *m = means + r * width, *s = spread + r * width;
        down_levels(top, stride, sums, width);
        across(sums, m, width, WHOLE / MIDDLE);
        down_products(top, stride, top, stride, sums, width);
        across(sums, s, width, WHOLE);
        for (ptrdiff_t c = 0; c < width - SIDE + 1; c++)
            s[c] = (s[c] - m[c] * m[c]) + c2;
    }
}

DEFINE_SUM(sum_of, float, float)

/* Sums of SSIM / 4 over each row of windows, of a clean image x with its `means` and `spread`, and a degraded one y. */
CLONED void patina_ssim_sums(const uint8_t *x, ptrdiff_t xs, const uint8_t *y, ptrdiff_t ys, ptrdiff_t width, ptrdiff_t rows,
                             ptrdiff_t step, float c1, float half_c1, float half_c2, const float *means,
                             const float *spread, float *sums) {
    float down[WIDEST], my[WIDEST], square[WIDEST], product[WIDEST];
    const ptrdiff_t windows = width - SIDE + 1;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const uint8_t *clean = x + r * step * xs, *other = y + r * step * ys;
        const float *mx = means + r * width, *vx = spread + r * width;
        down_levels(other, ys, down, width);
        across(down, my, width, WHOLE / MIDDLE);
        down_products(other, ys, other, ys, down, width);
        across(down, square, width, WHOLE);
        down_products(clean, xs, other, ys, down, width);
        across(down, product, width, WHOLE);
        for (ptrdiff_t c = 0; c < windows; c++) {
            const float bright = mx[c] + MIDDLE, other_bright = my[c] + MIDDLE;
            const float variances = (square[c] - my[c] * my[c]) + vx[c];
            const float covariance = (product[c] - mx[c] * my[c]) + half_c2;
            const float light = bright * other_bright + half_c1;
            const float lights = (other_bright * other_bright + bright * bright) + c1;
            product[c] = (covariance * light) / (variances * lights);
        }
        sums[r] = sum_of(product, windows);
    }
}

/* Y of BT.601 of n RGB pixels, rounded to levels. `factors` are of red, green and blue, `start` is Y of levels of 128. */
CLONED void patina_luma(const uint8_t *rgb, ptrdiff_t n, const float *factors, float whole, float start, uint8_t *y) {
    const float red = factors[0], green = factors[1], blue = factors[2];
    for (ptrdiff_t i = 0; i < n; i++) {
        const float r = (float)(rgb[3 * i] - 128), g = (float)(rgb[3 * i + 1] - 128), b = (float)(rgb[3 * i + 2] - 128);
        y[i] = (uint8_t)(int)nearest((r * red + g * green + b * blue) / whole + start);
    }
}
