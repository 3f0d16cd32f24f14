package io.gatun;

import io.gatun.internal.Check;
import java.util.Arrays;

/** Arithmetic on shapes and strides. Strides are in elements and never negative. */
final class Layout {
    private Layout() {}

    /** Row-major strides without gaps, but for the unused bits after a row of elements smaller than a byte. */
    static long[] contiguousStrides(DType dtype, Shape shape) {
        checkAddressable(dtype);
        long[] strides = new long[shape.rank()];
        if (shape.elements() == 0) {
            Arrays.fill(strides, 1);
            return strides;
        }
        try {
            long stride = 1;
            for (int axis = shape.rank() - 1; axis >= 0; axis--) {
                strides[axis] = stride;
                stride = Math.multiplyExact(stride, shape.size(axis));
                if (axis == shape.rank() - 1) {
                    stride = Math.addExact(stride, padding(dtype, stride));
                }
            }
        } catch (ArithmeticException overflow) {
            throw Check.invalid("shape", shape + " of " + dtype, "strides up to " + Long.MAX_VALUE);
        }
        return strides;
    }

    /** What is missing to whole bytes, in elements. */
    private static long padding(DType dtype, long elements) {
        return Math.floorMod(-elements, (long) dtype.elementsPerBytes());
    }

    /** Whether the unused bits between the rows of two contiguous tensors of one number of elements lie alike. */
    static boolean samePadding(DType dtype, Shape a, Shape b) {
        return isDense(dtype, a) && isDense(dtype, b) || last(a) == last(b);
    }

    private static boolean isDense(DType dtype, Shape shape) {
        return shape.elements() == 0 || last(shape) == shape.elements() || padding(dtype, last(shape)) == 0;
    }

    private static long last(Shape shape) {
        return shape.rank() == 0 ? 1 : shape.size(shape.rank() - 1);
    }

    /** Refuses the types whose rows begin where no stride in elements says. */
    static void checkAddressable(DType dtype) {
        if (dtype.bits() == 6) {
            throw Check.invalid(
                    "dtype", dtype, "types of 8 bits or a power of two; rows of " + dtype + " are u8 bytes");
        }
    }

    /** Whether the elements follow one another without gaps in row-major order. */
    static boolean isContiguous(DType dtype, Shape shape, long[] strides) {
        if (shape.elements() == 0) {
            return true;
        }
        long stride = 1;
        for (int axis = shape.rank() - 1; axis >= 0; axis--) {
            if (shape.size(axis) > 1 && strides[axis] != stride) {
                return false;
            }
            stride *= shape.size(axis);
            if (axis == shape.rank() - 1) {
                stride += padding(dtype, stride);
            }
        }
        return true;
    }

    /** The bytes from the first to the last element, both included. */
    static long spanBytes(DType dtype, Shape shape, long[] strides) {
        if (shape.elements() == 0) {
            return 0;
        }
        try {
            long last = 0;
            for (int axis = 0; axis < strides.length; axis++) {
                last = Math.addExact(last, Math.multiplyExact(shape.size(axis) - 1, strides[axis]));
            }
            return dtype.bytes(Math.addExact(last, 1));
        } catch (ArithmeticException overflow) {
            throw Check.invalid("shape", shape + " of " + dtype, "at most " + Long.MAX_VALUE + " bytes");
        }
    }

    /** Refuses strides that do not fit the shape, or cut a byte of a packed type. */
    static void checkStrides(DType dtype, Shape shape, long[] strides) {
        Check.present("strides", strides);
        checkAddressable(dtype);
        int unit = dtype.elementsPerBytes();
        if (strides.length != shape.rank()) {
            throw Check.invalid("strides", Arrays.toString(strides), shape.rank() + " strides, one an axis");
        }
        for (int axis = 0; axis < strides.length; axis++) {
            if (strides[axis] < 0) {
                throw Check.invalid("strides", Arrays.toString(strides), "strides >= 0");
            }
            boolean last = axis == strides.length - 1;
            boolean moves = shape.size(axis) > 1 && shape.elements() > 0;
            if (unit > 1 && moves && (last ? strides[axis] != 1 : strides[axis] % unit != 0)) {
                throw Check.invalid(
                        "strides",
                        Arrays.toString(strides),
                        "for dtype " + dtype + ": 1 on the last axis, " + multiple(dtype) + " on the others");
            }
        }
    }

    /** For a person: what indices and strides of rows are where bytes hold several elements. */
    static String multiple(DType dtype) {
        return dtype.elementsPerBytes() == 2 ? "even" : "multiples of " + dtype.elementsPerBytes();
    }

    /** The distance in elements of an index from the first element. */
    static long element(Shape shape, long[] strides, long[] index) {
        Check.present("index", index);
        if (index.length != strides.length) {
            throw Check.invalid("index", Arrays.toString(index), strides.length + " numbers for shape " + shape);
        }
        long element = 0;
        for (int axis = 0; axis < index.length; axis++) {
            if (index[axis] < 0 || index[axis] >= shape.size(axis)) {
                throw new IndexOutOfBoundsException(
                        "index: given " + Arrays.toString(index) + "; allowed: inside shape " + shape);
            }
            element += index[axis] * strides[axis];
        }
        return element;
    }

    /** Moves {@code index} to the next element in row-major order; false after the last one. */
    static boolean next(Shape shape, long[] index) {
        for (int axis = index.length - 1; axis >= 0; axis--) {
            if (++index[axis] < shape.size(axis)) {
                return true;
            }
            index[axis] = 0;
        }
        return false;
    }
}
