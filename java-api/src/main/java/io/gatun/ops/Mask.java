package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_mask_apply;
import static io.gatun.bindings.c.gatun_h.gatun_mask_count;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumSet;
import java.util.Set;

/**
 * A bit for each element of a matrix [rows, depth]: 1 if it is kept. A view of native memory, as {@link Tensor} is: the view
 * is immutable, the bits are not.
 */
public final class Mask {
    private static final Set<DType> U8 = EnumSet.of(DType.U8);
    private static final Set<DType> APPLICABLE = EnumSet.of(DType.F32, DType.F16, DType.BF16, DType.I8, DType.U8);

    private final Tensor bits;
    private final Shape shape;

    private Mask(Tensor bits, Shape shape) {
        this.bits = bits;
        this.shape = shape;
    }

    // ---- making one ------------------------------------------------------------------------------------------------

    /** Zeros in memory that is freed when nothing refers to it any more. */
    public static Mask allocate(long rows, long depth) {
        return allocate(Arena.ofAuto(), rows, depth);
    }

    /** Zeros in memory of an arena. */
    public static Mask allocate(Arena arena, long rows, long depth) {
        Shape shape = Shape.of(rows, depth);
        return new Mask(Tensor.allocate(arena, DType.U8, rows, bytesOf(depth)), shape);
    }

    /** A copy of bits in row-major order. */
    public static Mask of(boolean[] kept, long rows, long depth) {
        Check.present("kept", kept);
        Shape shape = Shape.of(rows, depth);
        if (shape.elements() != kept.length) {
            throw Check.invalid("kept", kept.length + " bits", shape.elements() + " for " + shape);
        }
        Mask mask = allocate(rows, depth);
        for (int i = 0; i < kept.length; i++) {
            if (kept[i]) {
                mask.set(i / depth, i % depth, true);
            }
        }
        return mask;
    }

    /** Of the elements of a matrix of any type that are not 0. O(rows * depth), one element after the other. */
    public static Mask of(Tensor dense) {
        Check.present("dense", dense);
        Check.matrix("dense", dense, -1, -1);
        Check.reachable("dense", dense.segment());
        Mask mask = allocate(dense.shape().size(0), dense.shape().size(1));
        for (long r = 0; r < mask.rows() && mask.depth() > 0; r++) {
            for (long k = 0; k < mask.depth(); k++) {
                if (dense.getFloat(r, k) != 0) {
                    mask.set(r, k, true);
                }
            }
        }
        return mask;
    }

    /**
     * Bits in memory of others; nothing is copied. O(rows * depth).
     *
     * @param bits u8 [rows, ceil(depth / 8)], contiguous: element k of a row is kept if bit k % 8 of its byte k / 8 is 1
     * @param depth the number of elements in a row
     * @throws IllegalArgumentException if the shape is another one, or a bit beyond the depth is 1
     */
    public static Mask wrap(Tensor bits, long depth) {
        Check.present("bits", bits);
        Check.range("depth", depth, 0, Long.MAX_VALUE);
        Check.dtype("bits", bits, U8);
        Check.matrix("bits", bits, -1, bytesOf(depth));
        Check.contiguous("bits", bits);
        Check.reachable("bits", bits.segment());
        Mask mask = new Mask(bits, Shape.of(bits.shape().size(0), depth));
        mask.count();
        return mask;
    }

    private static long bytesOf(long depth) {
        return Math.ceilDiv(depth, 8);
    }

    /** What the memory of the bits belongs to. */
    public Device device() {
        return bits.device();
    }

    /** This mask if its bits are on the device, otherwise a copy there. */
    public Mask to(Device device) {
        return new Mask(bits.to(device), shape);
    }

    // ---- bits ------------------------------------------------------------------------------------------------------

    /** The number of rows. */
    public long rows() {
        return shape.size(0);
    }

    /** The number of elements in a row. */
    public long depth() {
        return shape.size(1);
    }

    /** [rows, depth]. */
    public Shape shape() {
        return shape;
    }

    /** The bits as bytes, u8 [rows, ceil(depth / 8)]. */
    public Tensor bits() {
        return bits;
    }

    /** Whether an element is kept. */
    public boolean get(long row, long k) {
        checkIndex(row, k);
        return (bits.getInt(row, k / 8) >> k % 8 & 1) != 0;
    }

    /** Keeps an element, or prunes it. */
    public void set(long row, long k, boolean kept) {
        checkIndex(row, k);
        int others = bits.getInt(row, k / 8) & ~(1 << k % 8);
        bits.setFloat(others | (kept ? 1 << k % 8 : 0), row, k / 8);
    }

    private void checkIndex(long row, long k) {
        if (row < 0 || row >= rows() || k < 0 || k >= depth()) {
            throw new IndexOutOfBoundsException(
                    "index: given [" + row + ", " + k + "]; allowed: inside of the mask " + shape);
        }
    }

    /** The number of elements that are kept. O(rows * depth). */
    public long count() {
        Check.reachable("mask", bits.segment());
        NativeLibrary.load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment ones = arena.allocate(ValueLayout.JAVA_LONG);
            Native.call(() -> gatun_mask_count(rows(), depth(), bits.segment(), ones));
            return ones.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /** The share that is kept, 0..1; 1 of no elements. */
    public double density() {
        return shape.elements() == 0 ? 1 : (double) count() / shape.elements();
    }

    /** The same as 1 and 0, in new memory. O(rows * depth). */
    public Tensor toTensor(DType dtype) {
        Check.present("dtype", dtype);
        Check.reachable("mask", bits.segment());
        Tensor ones = Tensor.allocate(dtype, rows(), depth());
        for (long r = 0; r < rows() && depth() > 0; r++) {
            for (long k = 0; k < depth(); k++) {
                if (get(r, k)) {
                    ones.setFloat(1, r, k);
                }
            }
        }
        return ones;
    }

    // ---- application -----------------------------------------------------------------------------------------------

    /** What is kept of x, with zeros elsewhere, in new memory. */
    public Tensor apply(Tensor x) {
        Check.present("x", x);
        Check.matrix("x", x, rows(), depth());
        Tensor y = Tensor.allocate(x.dtype(), rows(), depth());
        apply(x, y, 0);
        return y;
    }

    /** As {@link #apply(Tensor, Tensor, int)} with all threads. */
    public void apply(Tensor x, Tensor y) {
        apply(x, y, 0);
    }

    /**
     * y = x where an element is kept, otherwise 0: +0, also for x that is NaN. Allocates nothing once warmed up. A network
     * that several tasks share has a mask for each of them ("Forget-free continual learning with winning subnetworks").
     *
     * @param x f32, f16, bf16, i8 or u8 of the mask's shape, columns adjacent, rows at any distance
     * @param y of the type and shape of x; may be x itself, and overlaps no input otherwise
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public void apply(Tensor x, Tensor y, int threads) {
        Check.present("x", x);
        Check.present("y", y);
        Check.dtype("x", x, APPLICABLE);
        Check.matrix("x", x, rows(), depth());
        Check.rowMajor("x", x);
        if (y.dtype() != x.dtype()) {
            throw Check.invalid("y", "dtype " + y.dtype(), "the dtype of x, " + x.dtype());
        }
        Check.matrix("y", y, rows(), depth());
        Check.rowMajor("y", y);
        Check.threads(threads);
        Check.reachable("mask", bits.segment());
        Check.reachable("x", x.segment());
        Check.reachable("y", y.segment());
        Check.writable("y", y.segment());
        long xStride = Native.rowStride(x);
        long yStride = Native.rowStride(y);
        if (x.segment().address() != y.segment().address() || xStride != yStride) {
            Check.disjoint("y", y, "x", x);
        }
        Check.disjoint("y", y, "mask", bits);
        NativeLibrary.load();
        try {
            Native.check(gatun_mask_apply(
                    x.dtype().code(),
                    rows(),
                    depth(),
                    xStride,
                    x.segment(),
                    bits.segment(),
                    threads,
                    yStride,
                    y.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** {@code mask[384, 1536]}. */
    @Override
    public String toString() {
        return "mask" + shape;
    }
}
