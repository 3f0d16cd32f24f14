package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.QuantSpec.NibbleOrder;
import java.lang.foreign.MemorySegment;

/** Moves codes of 4 bits within their bytes. */
final class Nibbles {
    private static final long LOW = 0x0f0f0f0f0f0f0f0fL;

    private Nibbles() {}

    /** Refuses codes that operations do not take. */
    static void checkOrder(String argument, QuantizedTensor quantized) {
        NibbleOrder order = quantized.spec().nibbles();
        if (order != NibbleOrder.LOW_FIRST) {
            throw Check.invalid(argument, "nibbles " + order, NibbleOrder.LOW_FIRST + " (see QuantizedTensor.reorder)");
        }
    }

    static void reorder(Tensor from, QuantSpec spec, Tensor to, NibbleOrder order) {
        NibbleOrder given = spec.nibbles();
        MemorySegment source = from.segment();
        MemorySegment target = to.segment();
        long columns = from.shape().size(1);
        boolean split = given == NibbleOrder.SPLIT_HALF_BLOCK || order == NibbleOrder.SPLIT_HALF_BLOCK;
        if (given == order || source.byteSize() == 0) {
            target.copyFrom(source);
        } else if (!split) {
            swap(source, target);
        } else {
            long block = spec.groupOf(columns);
            if (block % 2 != 0 || columns % block != 0) {
                throw Check.invalid(
                        "order",
                        order + " of rows of " + columns + " in blocks of " + block,
                        "whole blocks of an even number of elements");
            }
            long begin = 0;
            for (; begin < source.byteSize(); begin += block / 2) {
                for (long i = 0; i < block; i++) {
                    long out = begin + byteOf(order, block, i);
                    int code = source.get(JAVA_BYTE, begin + byteOf(given, block, i)) >>> shift(given, block, i) & 15;
                    int other = target.get(JAVA_BYTE, out);
                    target.set(JAVA_BYTE, out, (byte) (other | code << shift(order, block, i)));
                }
            }
        }
    }

    private static long byteOf(NibbleOrder order, long block, long element) {
        return order == NibbleOrder.SPLIT_HALF_BLOCK ? element % (block / 2) : element / 2;
    }

    private static int shift(NibbleOrder order, long block, long element) {
        boolean high = switch (order) {
            case LOW_FIRST -> element % 2 == 1;
            case HIGH_FIRST -> element % 2 == 0;
            case SPLIT_HALF_BLOCK -> element >= block / 2;
        };
        return high ? 4 : 0;
    }

    private static void swap(MemorySegment source, MemorySegment target) {
        long bytes = source.byteSize();
        long at = 0;
        for (; at + 8 <= bytes; at += 8) {
            long codes = source.get(JAVA_LONG_UNALIGNED, at);
            target.set(JAVA_LONG_UNALIGNED, at, (codes & LOW) << 4 | codes >>> 4 & LOW);
        }
        for (; at < bytes; at++) {
            int codes = source.get(JAVA_BYTE, at);
            target.set(JAVA_BYTE, at, (byte) (codes << 4 | codes >>> 4 & 15));
        }
    }

    /**
     * The rows of a matrix [rows, depth] from one row of all of them, where a row of an odd number of elements begins in
     * the middle of a byte.
     */
    static Tensor rows(Tensor flat, long rows, long depth) {
        DType dtype = flat.dtype();
        int perByte = 8 / dtype.bits();
        if (perByte == 1 || depth % perByte == 0 || rows <= 1) {
            return Tensor.wrap(flat.segment(), dtype, rows, depth);
        }
        Tensor copy = Tensor.allocate(dtype, rows, depth);
        MemorySegment source = flat.segment();
        MemorySegment target = copy.segment();
        long rowBytes = dtype.bytes(depth);
        int mask = (1 << dtype.bits()) - 1;
        for (long r = 0; r < rows; r++) {
            for (long k = 0; k < depth; k++) {
                long from = r * depth + k;
                int code = source.get(JAVA_BYTE, from / perByte) >>> (int) (from % perByte) * dtype.bits() & mask;
                long out = r * rowBytes + k / perByte;
                int other = target.get(JAVA_BYTE, out);
                target.set(JAVA_BYTE, out, (byte) (other | code << (int) (k % perByte) * dtype.bits()));
            }
        }
        return copy;
    }
}
