package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.lang.foreign.MemorySegment;

/** The canonical form of N:M sparse weights, read and written bit by bit. */
final class NmOracle {
    private NmOracle() {}

    static int bitsOfIndex(int m) {
        return m <= 4 ? 2 : m <= 16 ? 4 : 8;
    }

    /** Element i of a row of packed elements that own whole bytes. */
    private static int element(MemorySegment memory, int bits, int rowBytes, int row, int i) {
        int value = 0;
        for (int b = 0; b < bits; b++) {
            int bit = i * bits + b;
            value |= (memory.get(JAVA_BYTE, (long) row * rowBytes + bit / 8) >> bit % 8 & 1) << b;
        }
        return value;
    }

    /** The indices, vector by vector. */
    static int[][] indices(SparseTensor sparse) {
        int bits = bitsOfIndex(sparse.pattern().m());
        int kept = kept(sparse);
        int vectors = Math.ceilDiv((int) sparse.rows(), sparse.pattern().vector());
        int[][] indices = new int[vectors][kept];
        for (int v = 0; v < vectors; v++) {
            for (int i = 0; i < kept; i++) {
                indices[v][i] = element(sparse.indices().segment(), bits, Math.ceilDiv(kept * bits, 8), v, i);
            }
        }
        return indices;
    }

    /** Whether the bits behind the last element of each row of packed elements are 0. */
    static boolean unusedBitsAreZero(Tensor packed) {
        byte[] bytes = packed.segment().toArray(JAVA_BYTE);
        int used = (int) (packed.shape().size(1) * packed.dtype().bits() % 8);
        if (used != 0 && packed.shape().size(0) > 0) {
            int rowBytes = bytes.length / (int) packed.shape().size(0);
            for (int i = rowBytes - 1; i < bytes.length; i += rowBytes) {
                if ((bytes[i] & 0xff) >> used != 0) {
                    return false;
                }
            }
        }
        return true;
    }

    /** K: the kept weights of a row. */
    static int kept(SparseTensor sparse) {
        int m = sparse.pattern().m();
        return ((int) sparse.depth() + m - 1) / m * sparse.pattern().n();
    }

    /** Where in the dense row kept weight i of row r is; beyond its end, perhaps. */
    static int position(SparseTensor sparse, int[][] indices, int r, int i) {
        return i / sparse.pattern().n() * sparse.pattern().m()
                + indices[r / sparse.pattern().vector()][i];
    }

    /** Which weights are kept, row by row. */
    static boolean[] mask(SparseTensor sparse) {
        int rows = (int) sparse.rows();
        int depth = (int) sparse.depth();
        int[][] indices = indices(sparse);
        boolean[] mask = new boolean[rows * depth];
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < kept(sparse); i++) {
                int k = position(sparse, indices, r, i);
                if (k < depth) {
                    mask[r * depth + k] = true;
                }
            }
        }
        return mask;
    }

    /** The bits of a mask, row by row. */
    static boolean[] bits(Mask mask) {
        boolean[] bits = new boolean[(int) mask.shape().elements()];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = mask.get(i / mask.depth(), i % mask.depth());
        }
        return bits;
    }

    /** The indices that a mask means: its positions and the lowest others until there are n of a group. */
    static int[][] indicesOf(boolean[] mask, int rows, int depth, Sparsity.Nm pattern) {
        int groups = (depth + pattern.m() - 1) / pattern.m();
        int vectors = (rows + pattern.vector() - 1) / pattern.vector();
        int[][] indices = new int[vectors][groups * pattern.n()];
        for (int v = 0; v < vectors; v++) {
            for (int g = 0; g < groups; g++) {
                boolean[] chosen = new boolean[pattern.m()];
                int count = 0;
                for (int i = 0; i < pattern.m(); i++) {
                    int k = g * pattern.m() + i;
                    for (int r = v * pattern.vector(); r < Math.min(rows, (v + 1) * pattern.vector()); r++) {
                        if (k < depth && mask[r * depth + k] && !chosen[i]) {
                            chosen[i] = true;
                            count++;
                        }
                    }
                }
                for (int i = 0; count < pattern.n(); i++) {
                    if (!chosen[i]) {
                        chosen[i] = true;
                        count++;
                    }
                }
                int at = g * pattern.n();
                for (int i = 0; i < pattern.m(); i++) {
                    if (chosen[i]) {
                        indices[v][at++] = i;
                    }
                }
            }
        }
        return indices;
    }

    /** The dense weights in f32; of codes their exact products with the scale, rounded once. */
    static float[] values(SparseTensor sparse) {
        int rows = (int) sparse.rows();
        int depth = (int) sparse.depth();
        int kept = kept(sparse);
        int[][] indices = indices(sparse);
        float[] dense = new float[rows * depth];
        Decoder codes = sparse.spec() == null ? null : new Decoder(codes(sparse));
        float[] values = sparse.spec() == null ? sparse.values().toFloatArray() : null;
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < kept; i++) {
                int k = position(sparse, indices, r, i);
                if (k < depth) {
                    dense[r * depth + k] = codes == null ? values[r * kept + i] : codes.value(r, k);
                }
            }
        }
        return dense;
    }

    /** The dense codes, with those of 0 where nothing is kept. */
    static QuantizedTensor codes(SparseTensor sparse) {
        int rows = (int) sparse.rows();
        int depth = (int) sparse.depth();
        int kept = kept(sparse);
        int bits = sparse.spec().codes().bits();
        int[][] indices = indices(sparse);
        QuantizedTensor dense = new QuantizedTensor(
                sparse.spec(),
                Tensor.allocate(sparse.spec().codes(), rows, depth),
                sparse.scales(),
                sparse.zeroPoints());
        int[] patterns = new int[rows * depth];
        for (int i = 0; i < patterns.length; i++) {
            patterns[i] = zeroCode(sparse.spec(), sparse.zeroPoints(), i / depth, i % depth, depth);
        }
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < kept; i++) {
                int k = position(sparse, indices, r, i);
                if (k < depth) {
                    int pattern = element(sparse.values().segment(), bits, Math.ceilDiv(kept * bits, 8), r, i);
                    patterns[r * depth + k] = bits == 8 ? (byte) pattern : pattern;
                }
            }
        }
        Decoder.setCodes(dense, patterns);
        return dense;
    }

    private static int zeroCode(QuantSpec spec, Tensor zeroPoints, int r, int k, int depth) {
        return zeroPoints != null ? zeroPoints.getInt(r, k / spec.groupOf(depth)) : spec.codes() == DType.U4 ? 8 : 0;
    }

    /** A mask that keeps at most n of each group, the same in all rows of a vector; often fewer. */
    static boolean[] randomMask(Random random, int rows, int depth, Sparsity.Nm pattern) {
        boolean[] mask = new boolean[rows * depth];
        for (int top = 0; top < rows; top += pattern.vector()) {
            for (int begin = 0; begin < depth; begin += pattern.m()) {
                int size = Math.min(pattern.m(), depth - begin);
                int count = random.chance(0.8)
                        ? Math.min(pattern.n(), size)
                        : random.between(0, Math.min(pattern.n(), size));
                for (int i = 0; i < size; i++) {
                    // Each set of `count` positions is equally likely.
                    if (random.between(1, size - i) <= count) {
                        count--;
                        for (int r = top; r < Math.min(rows, top + pattern.vector()); r++) {
                            mask[r * depth + begin + i] = true;
                        }
                    }
                }
            }
        }
        return mask;
    }

    static Sparsity.Nm randomPattern(Random random) {
        int m = random.of(2, 4, 4, 8, 16, 32);
        Sparsity.Nm pattern = Sparsity.nm(random.between(1, m), m);
        return random.chance(0.3) ? pattern.withVector(random.between(2, 5)) : pattern;
    }

    /** The weights that a mask keeps, and zeros where a group has to be filled up. */
    static SparseTensor compress(Tensor dense, boolean[] mask, Sparsity.Nm pattern) {
        int rows = (int) dense.shape().size(0);
        int depth = (int) dense.shape().size(1);
        SparseTensor out = empty(mask, rows, depth, pattern, dense.dtype(), null, null, null);
        float[] values = dense.toFloatArray();
        int[][] indices = indices(out);
        int kept = kept(out);
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < kept; i++) {
                int k = position(out, indices, r, i);
                out.values().setFloat(k < depth && mask[r * depth + k] ? values[r * depth + k] : 0, r, i);
            }
        }
        return out;
    }

    /** The same of codes. */
    static SparseTensor compress(QuantizedTensor dense, boolean[] mask, Sparsity.Nm pattern) {
        int rows = (int) dense.rows();
        int depth = (int) dense.depth();
        QuantSpec spec = dense.spec();
        SparseTensor out = empty(mask, rows, depth, pattern, spec.codes(), spec, dense.scales(), dense.zeroPoints());
        int[] codes = Decoder.patterns(dense);
        int[][] indices = indices(out);
        int kept = kept(out);
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < kept; i++) {
                int k = position(out, indices, r, i);
                int zero = zeroCode(spec, dense.zeroPoints(), r, Math.min(k, depth - 1), depth);
                int code = k < depth && mask[r * depth + k] ? codes[r * depth + k] : zero;
                setElement(out.values(), r, i, code);
            }
        }
        return out;
    }

    private static SparseTensor empty(
            boolean[] mask,
            int rows,
            int depth,
            Sparsity.Nm pattern,
            DType dtype,
            QuantSpec spec,
            Tensor scales,
            Tensor zeroPoints) {
        int[][] positions = indicesOf(mask, rows, depth, pattern);
        int kept = (depth + pattern.m() - 1) / pattern.m() * pattern.n();
        Tensor indices = Tensor.allocate(pattern.indexType(), positions.length, kept);
        for (int v = 0; v < positions.length; v++) {
            for (int i = 0; i < kept; i++) {
                setElement(indices, v, i, positions[v][i]);
            }
        }
        Tensor values = Tensor.allocate(dtype, rows, kept);
        return new SparseTensor(pattern, Shape.of(rows, depth), values, indices, spec, scales, zeroPoints);
    }

    /** Writes an element of a type of at most 8 bits into memory of zeros. */
    private static void setElement(Tensor packed, int row, int i, int value) {
        int bits = packed.dtype().bits();
        long rowBytes = (packed.shape().size(1) * bits + 7) / 8;
        long at = row * rowBytes + (long) i * bits / 8;
        int shifted = (value & (1 << bits) - 1) << i * bits % 8;
        packed.segment().set(JAVA_BYTE, at, (byte) (packed.segment().get(JAVA_BYTE, at) | shifted));
    }

    /** Weights of this type, often 0 where they are kept. */
    static SparseTensor random(Random random, Sparsity.Nm pattern, DType dtype, int rows, int depth) {
        float[] values = random.normal(rows * depth, 1);
        for (int i = 0; i < values.length; i++) {
            values[i] = random.chance(0.05) ? 0 : values[i];
        }
        return compress(Tensor.of(dtype, values, rows, depth), randomMask(random, rows, depth, pattern), pattern);
    }

    /** The same of codes. */
    static SparseTensor random(Random random, Sparsity.Nm pattern, QuantSpec spec, int rows, int depth) {
        QuantizedTensor dense = Quantize.run(Tensor.of(random.normal(rows * depth, 1), rows, depth), spec);
        return compress(dense, randomMask(random, rows, depth, pattern), pattern);
    }
}
