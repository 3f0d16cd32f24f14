package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_fake_quantize;
import static io.gatun.bindings.c.gatun_h.gatun_fake_quantize_backward;

import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_calibrate_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;

/**
 * Quantization as training sees it: y = clamp(round(x / s), lowest, highest) * s with a scale s for each block, and its
 * gradients by the straight-through estimator with learned scales (Esser et al. 2020, "Learned step size quantization").
 * Immutable; build it once and use it for many calls.
 *
 * @param blocks which elements share a scale
 * @param lowest the lowest code, from -2^24 on
 * @param highest the highest code, above lowest, up to 2^24
 * @param gradientScale what the gradient of a scale is multiplied by; in the paper 1 / sqrt(elements of a block * highest)
 * @param threads 0 for all, 1 for only the calling one; results do not depend on it
 */
public record FakeQuantize(QuantSpec.Blocks blocks, int lowest, int highest, float gradientScale, int threads) {
    private static final int MOST = 1 << 24;

    /** Refuses what no call can take. */
    public FakeQuantize {
        Check.present("blocks", blocks);
        Check.range("lowest", lowest, -MOST, MOST - 1);
        Check.range("highest", highest, lowest + 1, MOST);
        if (!Float.isFinite(gradientScale)) {
            throw Check.invalid("gradientScale", gradientScale, "finite numbers");
        }
        Check.threads(threads);
    }

    /** Signed codes of {@code bits} bits, 2 to 24, gradients as they are, all threads. */
    public static FakeQuantize signed(int bits, QuantSpec.Blocks blocks) {
        Check.range("bits", bits, 2, 24);
        return new FakeQuantize(blocks, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, 1, 0);
    }

    /** The same with gradients of scales multiplied by a number. */
    public FakeQuantize withGradientScale(float factor) {
        return new FakeQuantize(blocks, lowest, highest, factor, threads);
    }

    /** The same with a number of threads. */
    public FakeQuantize withThreads(int count) {
        return new FakeQuantize(blocks, lowest, highest, gradientScale, count);
    }

    /**
     * y = clamp(round(x / s), lowest, highest) * s, each operation rounded once in f32, halves to even. NaN stays NaN, an
     * infinity becomes the extreme of its sign. O(rows * columns).
     *
     * @param x f32, f16 or bf16 [rows, columns], columns adjacent, rows at any distance; contiguous if blocks are flat
     * @param scales f32 [blocks of rows, blocks of a row], contiguous, finite and above 0
     * @param y of the shape and type of x, contiguous if blocks are flat; may be x itself
     * @throws IllegalArgumentException if an argument does not fit, or a scale is not finite and above 0, with its index;
     *     nothing is written then
     */
    public void forward(Tensor x, Tensor scales, Tensor y) {
        MemorySegment params = params(x, scales);
        output("y", y, x, params);
        if (!same(y, x)) {
            Check.disjoint("y", y, "x", x);
        }
        Check.disjoint("y", y, "scales", scales);
        Native.call(() -> gatun_fake_quantize(params, x.segment(), scales.segment(), y.segment()));
    }

    /**
     * With v = x / s:
     *
     * <pre>{@code
     * dx = lowest < v && v < highest ? dy : 0
     * ds = gradientScale * sum over the block of dy * f,
     *      f = v <= lowest ? lowest : v >= highest ? highest : round(v) - v
     * }</pre>
     *
     * The sum is one of doubles. O(rows * columns).
     *
     * @param x as for {@link #forward}
     * @param scales as for {@link #forward}
     * @param dy the gradient of y: of the shape and type of x, rows as far apart as those of x
     * @param dx of the shape and type of x, contiguous if blocks are flat; may be dy itself
     * @param ds f32, of the shape of scales, contiguous
     * @throws IllegalArgumentException as for {@link #forward}
     */
    public void backward(Tensor x, Tensor scales, Tensor dy, Tensor dx, Tensor ds) {
        MemorySegment params = params(x, scales);
        Check.present("dy", dy);
        like("dy", dy, x);
        if (Native.rowStride(dy) != Native.rowStride(x)) {
            throw Check.invalid("dy", dy.describe(), "rows that are " + Native.rowStride(x) + " apart, as of x");
        }
        output("dx", dx, x, params);
        Calibrate.perBlock("ds", ds, Calibrate.BlockGrid.of(x, blocks));
        Check.writable("ds", ds.segment());
        if (!same(dx, dy)) {
            Check.disjoint("dx", dx, "dy", dy);
        }
        Check.disjoint("dx", dx, "x", x);
        Check.disjoint("dx", dx, "scales", scales);
        Check.disjoint("ds", ds, "x", x);
        Check.disjoint("ds", ds, "scales", scales);
        Check.disjoint("ds", ds, "dy", dy);
        Check.disjoint("ds", ds, "dx", dx);
        Native.call(() -> gatun_fake_quantize_backward(
                params, x.segment(), scales.segment(), dy.segment(), dx.segment(), ds.segment()));
    }

    private MemorySegment params(Tensor x, Tensor scales) {
        MemorySegment params = Calibrate.params("x", x, blocks, threads);
        Calibrate.perBlock("scales", scales, Calibrate.BlockGrid.of(x, blocks));
        gatun_calibrate_params.lowest(params, lowest);
        gatun_calibrate_params.highest(params, highest);
        gatun_calibrate_params.gradient_scale(params, gradientScale);
        return params;
    }

    private void like(String name, Tensor tensor, Tensor x) {
        Check.dtype(name, tensor, EnumSet.of(x.dtype()));
        Check.matrix(name, tensor, x.shape().size(0), x.shape().size(1));
        Check.rowMajor(name, tensor);
        Check.reachable(name, tensor.segment());
        if (blocks.flat()) {
            Check.contiguous(name, tensor);
        }
    }

    private void output(String name, Tensor out, Tensor x, MemorySegment params) {
        Check.present(name, out);
        like(name, out, x);
        Check.writable(name, out.segment());
        long stride = blocks.flat() ? x.shape().elements() : Native.rowStride(out);
        gatun_calibrate_params.y_row_stride(params, stride);
    }

    private static boolean same(Tensor a, Tensor b) {
        return a.segment().address() == b.segment().address() && Native.rowStride(a) == Native.rowStride(b);
    }
}
