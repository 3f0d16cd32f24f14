package io.gatun.jlama;

import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import com.github.tjake.jlama.tensor.Q8ByteBufferTensor;
import com.github.tjake.jlama.tensor.TensorShape;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The arguments of {@code batchDotProduct}:
 *
 * <pre>result[m][rRowOffset + n] = sum over k &lt; depth of a[m][aColumn + k] b[n][bColumn + k], n = bRow .. bRow + rows</pre>
 *
 * <p>Indices are those of whole tensors. A sparse tensor has a range of the columns or rows in memory, which its shape
 * tells.
 */
record Product(
        AbstractTensor result,
        AbstractTensor a,
        AbstractTensor b,
        int aColumn,
        int bColumn,
        int depth,
        int rRowOffset,
        int bRow,
        int rows) {
    private static final int BLOCK = Q4ByteBufferTensor.BLOCK_SIZE;
    /** Of fewer rows most of the packed form would be padding: dot products of vectors. */
    private static final int FEWEST_ROWS = 16;

    private static final QuantSpec Q8 = QuantSpec.int8(BLOCK).withScales(io.gatun.DType.F32);
    private static final QMatmul.Options CODES =
            QMatmul.Options.DEFAULT.withThreads(1).withMode(QMatmul.Mode.INT8_GROUP);
    private static final QMatmul.Options FLOATS =
            QMatmul.Options.DEFAULT.withThreads(1).withMode(QMatmul.Mode.PRECISE);

    /** Why this is not a product for Gatun, or null. */
    String unserved() {
        if (b.dType() != DType.Q4 || a.dType() != DType.I8 && a.dType() != DType.F32) {
            return "Gatun takes F32 and I8 by Q4";
        }
        if (result.dType() != DType.F32 && result.dType() != DType.BF16) {
            return "Gatun gives F32 and BF16";
        }
        if (a.dims() != 2 || b.dims() != 2 || result.dims() != 2) {
            return "Gatun takes matrices";
        }
        TensorShape weights = b.shape();
        if (weights.sparseRowLength() < FEWEST_ROWS) {
            return "b has fewer than " + FEWEST_ROWS + " rows";
        }
        if (bColumn != weights.sparseColumnOffset() || depth != weights.sparseColumnLength() || depth % BLOCK != 0) {
            return "the product takes a part of b's columns, or blocks that end with no row";
        }
        int first = bRow - weights.sparseRowOffset();
        if (first < 0 || rows < 0 || first + rows > weights.sparseRowLength()) {
            return "b lacks some of the rows";
        }
        int left = aColumn - a.shape().sparseColumnOffset();
        if (left < 0 || left + depth > a.shape().sparseColumnLength()) {
            return "a lacks some of the columns";
        }
        if (a.dType() == DType.I8 && left % BLOCK != 0) {
            return "the product takes a part of a block of a";
        }
        int target = resultColumn();
        if (target < 0 || target + weights.sparseRowLength() > result.shape().sparseColumnLength()) {
            return "the result has no column for some of b's rows";
        }
        if (a.shape().first() != result.shape().first() || isCut(a.shape()) || isCut(result.shape())) {
            return "a and the result differ in their rows";
        }
        return null;
    }

    private static boolean isCut(TensorShape shape) {
        return shape.sparseRowLength() != shape.first();
    }

    /** Where the first row of b that is in memory goes. */
    private int resultColumn() {
        return b.shape().sparseRowOffset() + rRowOffset - result.shape().sparseColumnOffset();
    }

    /** On the calling thread; nothing is copied but, inside of the kernel, the rows of a. */
    void run(PackedWeights weights) {
        QMatmul.Options range = options();
        int all = a.shape().first();
        if (a instanceof Q8ByteBufferTensor codes) {
            // Quantized rows lie without gaps: parts of rows are multiplied one by one.
            int step = depth == a.shape().sparseColumnLength() ? Math.max(all, 1) : 1;
            for (int row = 0; row < all; row += step) {
                QMatmul.run(codes(codes, row, step), weights, y(weights, row, step), range);
            }
        } else {
            QMatmul.run(x(), weights, y(weights, 0, all), range);
        }
    }

    /** What {@link QMatmul#explain} says; of codes, of floats that are quantized like them. */
    String explain(PackedWeights weights) {
        try (Arena arena = Arena.ofConfined()) {
            boolean codes = a.dType() == DType.I8;
            Tensor x =
                    codes ? Tensor.allocate(arena, io.gatun.DType.F32, a.shape().first(), depth) : x();
            return QMatmul.explain(x, weights, y(weights, 0, a.shape().first()), options());
        }
    }

    private QMatmul.Options options() {
        int first = bRow - b.shape().sparseRowOffset();
        return (a.dType() == DType.I8 ? CODES : FLOATS).withColumns(first, first + rows);
    }

    Tensor x() {
        int width = a.shape().sparseColumnLength();
        Shape shape = Shape.of(a.shape().first(), depth);
        return Tensor.wrap(at(a, a.getOffset(0, aColumn), 4), io.gatun.DType.F32, shape, width, 1);
    }

    QuantizedTensor codes(Q8ByteBufferTensor codes, int row, int count) {
        FloatBufferTensor factors = codes.getBlockF();
        int first = factors.getOffset(row, aColumn / BLOCK);
        return new QuantizedTensor(
                Q8,
                Tensor.wrap(at(codes, codes.getOffset(row, aColumn), 1), io.gatun.DType.I8, count, depth),
                Tensor.wrap(at(factors, first, 4), io.gatun.DType.F32, count, depth / BLOCK),
                null);
    }

    /** All columns that b has rows for; the options tell which of them are written. */
    Tensor y(PackedWeights weights, int row, int count) {
        boolean half = result.dType() == DType.BF16;
        int width = result.shape().sparseColumnLength();
        return Tensor.wrap(
                at(result, (long) row * width + resultColumn(), half ? 2 : 4),
                half ? io.gatun.DType.BF16 : io.gatun.DType.F32,
                Shape.of(count, weights.rows()),
                width,
                1);
    }

    private static MemorySegment at(AbstractTensor tensor, long element, int bytes) {
        return tensor.getMemorySegment().asSlice(element * bytes);
    }
}
