package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.QuantSpec.Blocks;
import io.gatun.ops.QuantSpec.ScaleRule;
import java.lang.foreign.MemorySegment;

/** Blocks of a flattened matrix as groups of its rows: the same values by the same codes, with scales repeated. */
final class FlatBlocks {
    private FlatBlocks() {}

    /**
     * The weights as {@code gatun_qmatmul_pack} takes them: plain scales, groups of rows.
     *
     * @throws UnsupportedOperationException if a flat block ends so that only groups below the smallest fit both
     */
    static QuantizedTensor packable(String name, QuantizedTensor weights) {
        Nibbles.checkOrder(name, weights);
        QuantizedTensor plain = NestedScales.unnested(weights);
        return plain.spec().blocks().flat() ? rows(name, plain) : plain;
    }

    private static QuantizedTensor rows(String name, QuantizedTensor flat) {
        long rows = flat.rows();
        long depth = flat.depth();
        long block = flat.spec().groupOf(flat.shape().elements());
        long group = groupOf(name, block, rows, depth);
        // The rule may be about flat scales that the caller made, so it goes with them.
        QuantSpec spec = flat.spec().withScaleRule(ScaleRule.DEFAULT).with(new Blocks(group, 1, false));
        long groups = spec.groups(depth);
        return new QuantizedTensor(
                spec,
                flat.shape(),
                codes(name, flat, rows, depth),
                repeated(flat.scales(), rows, groups, block, depth, group),
                repeated(flat.zeroPoints(), rows, groups, block, depth, group),
                flat.tensorScale(),
                null);
    }

    /** The largest group that no block cuts. */
    private static long groupOf(String name, long block, long rows, long depth) {
        if (rows <= 1) {
            return block;
        }
        long a = block;
        long b = depth;
        while (b != 0) {
            long rest = a % b;
            a = b;
            b = rest;
        }
        if (block >= rows * depth) {
            a = depth;
        }
        if (a < QuantSpec.MIN_GROUP && a != depth) {
            throw Check.unsupported(
                    name,
                    "blocks of " + block + " of a flattened matrix of rows of " + depth,
                    "blocks that share a divisor of " + QuantSpec.MIN_GROUP
                            + " or more with the rows, or blocks of rows (QuantSpec.withGroup)");
        }
        return a;
    }

    private static Tensor codes(String name, QuantizedTensor flat, long rows, long depth) {
        if (flat.codes().dtype() == flat.spec().codes()) {
            return Nibbles.rows(flat.codes(), rows, depth);
        }
        // Floats of 6 bits, as bytes.
        if (rows > 1 && depth % 4 != 0) {
            throw Check.unsupported(
                    name,
                    flat.spec() + " in rows of " + depth,
                    "rows of a multiple of 4, or blocks of rows (QuantSpec.withGroup)");
        }
        return Tensor.wrap(
                flat.codes().segment(), DType.U8, rows, flat.spec().codes().bytes(depth));
    }

    private static Tensor repeated(Tensor scales, long rows, long groups, long block, long depth, long group) {
        if (scales == null) {
            return null;
        }
        Tensor out = Tensor.allocate(scales.dtype(), rows, groups);
        long bytes = scales.dtype().bytes(1);
        MemorySegment from = scales.segment();
        MemorySegment to = out.segment();
        for (long r = 0; r < rows; r++) {
            for (long g = 0; g < groups; g++) {
                long index = (r * depth + g * group) / block;
                for (long b = 0; b < bytes; b++) {
                    to.set(JAVA_BYTE, (r * groups + g) * bytes + b, from.get(JAVA_BYTE, index * bytes + b));
                }
            }
        }
        return out;
    }
}
