package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.util.EnumSet;

/**
 * A quantized matrix [rows, depth]: codes, scales and zero points in plain, contiguous tensors that anything may fill.
 *
 * @param spec how the values are coded
 * @param codes [rows, depth] of {@code spec.codes()}
 * @param scales [rows, groups] of {@code spec.scales()}
 * @param zeroPoints u8 [rows, groups], or null if {@code spec} is symmetric
 */
public record QuantizedTensor(QuantSpec spec, Tensor codes, Tensor scales, Tensor zeroPoints) {

    /** Refuses tensors that do not fit together. */
    public QuantizedTensor {
        Check.present("spec", spec);
        Check.present("codes", codes);
        Check.present("scales", scales);
        Check.dtype("codes", codes, EnumSet.of(spec.codes()));
        Check.matrix("codes", codes, -1, -1);
        Check.contiguous("codes", codes);
        long rows = codes.shape().size(0);
        long groups = spec.groups(codes.shape().size(1));
        spec.groupOf(codes.shape().size(1));
        Check.dtype("scales", scales, EnumSet.of(spec.scales()));
        Check.matrix("scales", scales, rows, groups);
        Check.contiguous("scales", scales);
        if (spec.asymmetric() != (zeroPoints != null)) {
            throw Check.invalid(
                    "zeroPoints",
                    zeroPoints == null ? "null" : zeroPoints.describe(),
                    spec.asymmetric() ? "u8[" + rows + ", " + groups + "]" : "null, as the codes are symmetric");
        }
        if (zeroPoints != null) {
            Check.dtype("zeroPoints", zeroPoints, EnumSet.of(DType.U8));
            Check.matrix("zeroPoints", zeroPoints, rows, groups);
            Check.contiguous("zeroPoints", zeroPoints);
        }
    }

    /**
     * A matrix of zero codes and scales in memory that is freed when nothing refers to it any more. Such memory counts
     * against {@code -XX:MaxDirectMemorySize}, by default the size of the heap; memory of an arena of one's own does not.
     */
    public static QuantizedTensor allocate(QuantSpec spec, long rows, long depth) {
        return allocate(Arena.ofAuto(), spec, rows, depth);
    }

    /** A matrix of zero codes and scales in memory of an arena. */
    public static QuantizedTensor allocate(Arena arena, QuantSpec spec, long rows, long depth) {
        Check.open("arena", arena);
        Check.present("spec", spec);
        Check.range("depth", depth, 0, Long.MAX_VALUE);
        spec.groupOf(depth);
        long groups = spec.groups(depth);
        return new QuantizedTensor(
                spec,
                Tensor.allocate(arena, spec.codes(), rows, depth),
                Tensor.allocate(arena, spec.scales(), rows, groups),
                spec.asymmetric() ? Tensor.allocate(arena, DType.U8, rows, groups) : null);
    }

    /** The number of rows. */
    public long rows() {
        return codes.shape().size(0);
    }

    /** The number of elements in a row. */
    public long depth() {
        return codes.shape().size(1);
    }

    /** The bytes of codes, scales and zero points together. */
    public long byteSize() {
        return codes.segment().byteSize()
                + scales.segment().byteSize()
                + (zeroPoints == null ? 0 : zeroPoints.segment().byteSize());
    }

    /** Rows {@code begin..end}, {@code end} excluded; nothing is copied. */
    public QuantizedTensor slice(long begin, long end) {
        return new QuantizedTensor(
                spec,
                codes.slice(0, begin, end),
                scales.slice(0, begin, end),
                zeroPoints == null ? null : zeroPoints.slice(0, begin, end));
    }

    /** Spec and shape: {@code quantized[384, 1536] u4 group 32, f16 scales}. */
    @Override
    public String toString() {
        return "quantized" + codes.shape() + " " + spec;
    }

    void checkReachable(String argument) {
        Check.reachable(argument, ".codes", codes.segment());
        Check.reachable(argument, ".scales", scales.segment());
        if (zeroPoints != null) {
            Check.reachable(argument, ".zeroPoints", zeroPoints.segment());
        }
    }
}
