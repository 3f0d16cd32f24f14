package io.gatun;

import io.gatun.internal.Check;
import java.util.Arrays;

/** The sizes of a tensor's axes. Immutable. */
public final class Shape {
    private final long[] sizes;
    private final long elements;

    private Shape(long[] sizes) {
        this.sizes = sizes;
        this.elements = count(sizes);
    }

    /**
     * A shape of these sizes; none for a scalar.
     *
     * @throws IllegalArgumentException if a size is negative or their product exceeds the range of {@code long}
     */
    public static Shape of(long... sizes) {
        Check.present("shape", sizes);
        return new Shape(sizes.clone());
    }

    private static long count(long[] sizes) {
        long product = 1;
        boolean overflow = false;
        boolean empty = false;
        for (long size : sizes) {
            if (size < 0) {
                throw Check.invalid("shape", Arrays.toString(sizes), "sizes >= 0");
            }
            empty |= size == 0;
            overflow |= Math.multiplyHigh(product, size) != 0 || product * size < 0;
            product *= size;
        }
        if (overflow && !empty) {
            throw Check.invalid("shape", Arrays.toString(sizes), "at most " + Long.MAX_VALUE + " elements");
        }
        return empty ? 0 : product;
    }

    /** The number of axes. */
    public int rank() {
        return sizes.length;
    }

    /**
     * The size of an axis.
     *
     * @throws IndexOutOfBoundsException if there is no such axis
     */
    public long size(int axis) {
        checkAxis(axis);
        return sizes[axis];
    }

    void checkAxis(int axis) {
        if (axis < 0 || axis >= sizes.length) {
            throw new IndexOutOfBoundsException(
                    "axis: given " + axis + "; allowed: 0.." + (sizes.length - 1) + " for shape " + this);
        }
    }

    /** The number of elements: the product of all sizes, 1 for a scalar. */
    public long elements() {
        return elements;
    }

    /** A copy of the sizes. */
    public long[] toArray() {
        return sizes.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape shape && Arrays.equals(sizes, shape.sizes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(sizes);
    }

    /** The sizes in brackets: {@code [2, 3]}. */
    @Override
    public String toString() {
        return Arrays.toString(sizes);
    }
}
