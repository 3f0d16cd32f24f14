package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.GATUN_ERROR_PER_BLOCK;
import static io.gatun.bindings.c.gatun_h.GATUN_ERROR_PER_ROW;
import static io.gatun.bindings.c.gatun_h.gatun_amax;
import static io.gatun.bindings.c.gatun_h.gatun_calibrate_explain;
import static io.gatun.bindings.c.gatun_h.gatun_quantization_error;
import static io.gatun.bindings.c.gatun_h.gatun_requantize;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_calibrate_params;
import io.gatun.bindings.c.gatun_quantize_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * What calibration needs beside {@link Quantize}: largest magnitudes, fewer bits from stored codes, and the error of a
 * quantization. Results do not depend on the number of threads. See also {@link FakeQuantize} and {@link DynamicScale}.
 */
public final class Calibrate {
    private static final long EXPLAIN_BYTES = 1024;
    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_calibrate_params::layout);
    private static final ThreadLocal<MemorySegment> QUANTIZE_PARAMS = Native.params(gatun_quantize_params::layout);

    private Calibrate() {}

    // ---- largest magnitudes ----------------------------------------------------------------------------------------

    /** The largest |x| of a whole matrix; NaN if it holds one, else infinity if it holds one. */
    public static float amax(Tensor x) {
        Tensor amax = amax(x, new QuantSpec.Blocks(0, 0, false));
        return amax.shape().elements() == 0 ? 0 : amax.getFloat(0, 0);
    }

    /** The largest |x| of each block in new memory, f32 [blocks of rows, blocks of a row]. */
    public static Tensor amax(Tensor x, QuantSpec.Blocks blocks) {
        Check.present("x", x);
        Check.matrix("x", x, -1, -1);
        Check.present("blocks", blocks);
        BlockGrid grid = BlockGrid.of(x, blocks);
        Tensor amax = Tensor.allocate(DType.F32, grid.blockRows(), grid.blockColumns());
        amax(x, blocks, amax, 0);
        return amax;
    }

    /**
     * The largest |x| of each block, exactly; NaN for a block with NaN, else infinity for one with an infinity: an overflow
     * in training is no error. O(rows * columns).
     *
     * @param x f32, f16 or bf16 [rows, columns], columns adjacent, rows at any distance; contiguous if blocks are flat
     * @param blocks which elements belong together; any group from 1 on, 0 for all
     * @param amax f32 [blocks of rows, blocks of a row], contiguous
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     */
    public static void amax(Tensor x, QuantSpec.Blocks blocks, Tensor amax, int threads) {
        MemorySegment params = params("x", x, blocks, threads);
        BlockGrid grid = BlockGrid.of(x, blocks);
        perBlock("amax", amax, grid);
        Check.writable("amax", amax.segment());
        Check.disjoint("amax", amax, "x", x);
        Native.call(() -> gatun_amax(params, x.segment(), amax.segment()));
    }

    /** This thread's struct with a checked matrix and its blocks. */
    static MemorySegment params(String name, Tensor x, QuantSpec.Blocks blocks, int threads) {
        Check.present(name, x);
        Check.present("blocks", blocks);
        QuantizeCall.checkValueType(name, x.dtype());
        Check.matrix(name, x, -1, -1);
        Check.rowMajor(name, x);
        Check.reachable(name, x.segment());
        Check.threads(threads);
        BlockGrid grid = BlockGrid.of(x, blocks);
        MemorySegment params = PARAMS.get();
        gatun_calibrate_params.x_dtype(params, x.dtype().code());
        gatun_calibrate_params.threads(params, threads);
        gatun_calibrate_params.rows(params, grid.rows);
        gatun_calibrate_params.depth(params, grid.columns);
        gatun_calibrate_params.group(params, grid.group);
        gatun_calibrate_params.group_rows(params, grid.groupRows);
        gatun_calibrate_params.x_row_stride(params, blocks.flat() ? grid.columns : Native.rowStride(x));
        return params;
    }

    /** Refuses anything but one f32 number for each block. */
    static void perBlock(String name, Tensor tensor, BlockGrid grid) {
        Check.present(name, tensor);
        Check.dtype(name, tensor, F32);
        Check.matrix(name, tensor, grid.blockRows(), grid.blockColumns());
        Check.contiguous(name, tensor);
        Check.reachable(name, tensor.segment());
    }

    /** A matrix (a row, if blocks are flat) and the sizes of its blocks. */
    record BlockGrid(long rows, long columns, long groupRows, long group) {
        static BlockGrid of(Tensor x, QuantSpec.Blocks blocks) {
            long rows = x.shape().size(0);
            long columns = x.shape().size(1);
            if (blocks.flat()) {
                Check.contiguous("x", x);
                columns = x.shape().elements();
                rows = 1;
            }
            long group = blocks.group() == 0 ? columns : Math.min(blocks.group(), columns);
            long groupRows = Math.max(1, blocks.rows() == 0 ? rows : Math.min(blocks.rows(), rows));
            return new BlockGrid(rows, columns, groupRows, group);
        }

        long blockRows() {
            return Math.ceilDiv(rows, groupRows);
        }

        long blockColumns() {
            return group == 0 ? 0 : Math.ceilDiv(columns, group);
        }
    }

    // ---- fewer bits ------------------------------------------------------------------------------------------------

    /**
     * The same matrix with fewer bits, made of its stored codes of 8 bits alone ("double rounding"): the value of a code is
     * divided by k = 2^(8 - bits) and rounded to nearest, halves to even, and scales are multiplied by k. That is the
     * dequantized number rounded to the coarser grid, clamped to its range. With integer zero points z, 0 stays exact: the
     * new ones are z / k, rounded; float ones stay.
     *
     * @param stored with codes of I8, or of U8 with zero points; f32 or f16 scales, nested ones too
     * @param bits 6 (in I8 or U8), 4 (U4) or 2 (U2)
     * @throws IllegalArgumentException if {@code stored} is something else, or a new scale overflows its type
     */
    public static QuantizedTensor requantize(QuantizedTensor stored, int bits) {
        return requantize(stored, bits, 0);
    }

    /** The same with a number of threads: 0 for all, 1 for only the calling one. */
    public static QuantizedTensor requantize(QuantizedTensor stored, int bits, int threads) {
        Check.present("stored", stored);
        QuantSpec given = stored.spec();
        boolean eightBits = given.codes() == DType.I8 || given.codes() == DType.U8 && given.hasZeroPoints();
        if (!eightBits) {
            throw Check.invalid("stored", stored, "codes of i8, or of u8 with zero points");
        }
        if (bits != 6 && bits != 4 && bits != 2) {
            throw Check.invalid("bits", bits, "6, 4, 2");
        }
        Check.threads(threads);
        stored.checkReachable("stored");
        QuantizedTensor plain = NestedScales.unnested(stored);
        QuantSpec spec = plain.spec();
        DType codes = bits == 6 ? spec.codes() : bits == 4 ? DType.U4 : DType.U2;
        QuantSpec coarser = new QuantSpec(
                codes, null, spec.zeroPoint(), spec.blocks(), spec.scales(), spec.rule(), false, spec.nibbles(), null);
        QuantizedTensor out = QuantizedTensor.allocate(coarser, plain.rows(), plain.depth());

        long rows = plain.codes().shape().size(0);
        long depth = plain.codes().shape().size(1);
        MemorySegment params = QUANTIZE_PARAMS.get();
        gatun_quantize_params.code_dtype(params, spec.codes().code());
        gatun_quantize_params.zero_point(params, spec.zeroPoint().ordinal());
        gatun_quantize_params.scale_dtype(params, spec.scales().code());
        gatun_quantize_params.threads(params, threads);
        gatun_quantize_params.rows(params, rows);
        gatun_quantize_params.depth(params, depth);
        gatun_quantize_params.group(params, spec.groupOf(depth));
        gatun_quantize_params.group_rows(params, 1);
        Native.call(() -> gatun_requantize(
                params,
                bits,
                plain.codes().segment(),
                plain.scales().segment(),
                Native.segment(plain.zeroPoints()),
                out.codes().segment(),
                out.scales().segment(),
                Native.segment(out.zeroPoints())));
        return out;
    }

    // ---- errors ----------------------------------------------------------------------------------------------------

    /** What errors are summed over. */
    public enum Per {
        /** Each block that has a scale. */
        BLOCK,
        /** Each row; blocks over the flattened tensor must then not cross rows. */
        ROW
    }

    /**
     * Sums of squares of a matrix x and of what its quantization q leaves: {@code errors} of (x - q)^2, {@code squares} of
     * x^2, row-major [rows, columns] of blocks or of whole rows (one column).
     */
    public record Errors(int rows, int columns, double[] errors, double[] squares) {
        /** The relative error of all: sqrt(sum of errors / sum of squares); 0 if there is no error. */
        public double relative() {
            double error = 0;
            double square = 0;
            for (int i = 0; i < errors.length; i++) {
                error += errors[i];
                square += squares[i];
            }
            return error == 0 ? 0 : Math.sqrt(error / square);
        }
    }

    /** As {@link #errors(Tensor, QuantizedTensor, Per, int)} with all threads. */
    public static Errors errors(Tensor x, QuantizedTensor quantized, Per per) {
        return errors(x, quantized, per, 0);
    }

    /**
     * How far a quantized matrix is from x, in doubles. Some values at a time are dequantized, never the whole matrix. NaN
     * of either gives NaN. O(rows * depth).
     *
     * @param x f32, f16 or bf16 [rows, depth], columns adjacent, rows at any distance; contiguous if blocks are flat
     * @param quantized of the same shape, any format
     * @param threads 0 for all, 1 for only the calling one; the result does not depend on it
     * @throws IllegalArgumentException if an argument does not fit, or if there are 2^31 blocks or more
     */
    public static Errors errors(Tensor x, QuantizedTensor quantized, Per per, int threads) {
        QuantizeCall.check("x", x, "quantized", quantized);
        Check.present("per", per);
        Check.threads(threads);
        Check.rowMajor("x", x);
        if (per == Per.ROW && quantized.spec().blocks().flat()) {
            return flatRows(errors(x, quantized, Per.BLOCK, threads), quantized);
        }
        QuantSpec spec = quantized.spec();
        boolean flat = spec.blocks().flat();
        long rows = flat ? 1 : quantized.rows();
        long depth = flat ? quantized.shape().elements() : quantized.depth();
        long blockRows = per == Per.ROW ? rows : Math.ceilDiv(rows, spec.rowsOf(rows));
        long blockColumns = per == Per.ROW ? 1 : spec.groups(depth);
        long count = Math.multiplyExact(blockRows, blockColumns);
        Check.range("blocks of quantized", count, 0, Integer.MAX_VALUE);
        QuantizedTensor plain = NestedScales.unnested(quantized);
        MemorySegment params =
                spec.gguf() != null ? ggufParams(x, quantized, threads) : QuantizeCall.inverse(plain, x, threads);
        int type = spec.gguf() == null ? 0 : spec.gguf().id();
        int what = per == Per.ROW ? GATUN_ERROR_PER_ROW() : GATUN_ERROR_PER_BLOCK();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment errors = arena.allocate(JAVA_DOUBLE, count);
            MemorySegment squares = arena.allocate(JAVA_DOUBLE, count);
            Native.call(() -> gatun_quantization_error(
                    params,
                    type,
                    what,
                    x.segment(),
                    QuantizeCall.book(plain),
                    plain.codes().segment(),
                    Native.segment(plain.scales()),
                    Native.segment(plain.zeroPoints()),
                    errors,
                    squares));
            return new Errors(
                    (int) blockRows, (int) blockColumns, errors.toArray(JAVA_DOUBLE), squares.toArray(JAVA_DOUBLE));
        }
    }

    private static MemorySegment ggufParams(Tensor x, QuantizedTensor quantized, int threads) {
        MemorySegment params = QUANTIZE_PARAMS.get();
        gatun_quantize_params.x_dtype(params, x.dtype().code());
        gatun_quantize_params.threads(params, threads);
        gatun_quantize_params.rows(params, quantized.rows());
        gatun_quantize_params.depth(params, quantized.depth());
        gatun_quantize_params.x_row_stride(params, Native.rowStride(x));
        return params;
    }

    /** Rows of whole blocks. */
    private static Errors flatRows(Errors blocks, QuantizedTensor quantized) {
        int rows = Math.toIntExact(quantized.rows());
        long depth = quantized.depth();
        long group = quantized.spec().groupOf(quantized.shape().elements());
        if (group == 0 || depth % group != 0) {
            throw Check.invalid("per", Per.ROW, Per.BLOCK + ", as blocks of " + group + " elements cross rows");
        }
        int each = (int) (depth / group);
        double[] errors = new double[rows];
        double[] squares = new double[rows];
        for (int i = 0; i < rows * each; i++) {
            errors[i / each] += blocks.errors[i];
            squares[i / each] += blocks.squares[i];
        }
        return new Errors(rows, 1, errors, squares);
    }

    /** Which kernels work on elements of this type, and why; for a person. I8 and U8 are those of requantize. */
    public static String explain(DType dtype) {
        Check.present("dtype", dtype);
        NativeLibrary.load();
        return Native.text(EXPLAIN_BYTES, text -> gatun_calibrate_explain(dtype.code(), text, EXPLAIN_BYTES));
    }
}
