package io.gatun;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A tensor as text: a line with dtype, shape and strides, then the values in aligned columns, elided if many. */
final class TensorText {
    private static final long MAX_ELEMENTS = 1000;
    private static final int EDGE = 3;
    private static final String ELLIPSIS = "...";

    private final Tensor tensor;
    private final boolean elide;
    private int width;

    private TensorText(Tensor tensor) {
        this.tensor = tensor;
        this.elide = tensor.shape().elements() > MAX_ELEMENTS;
    }

    static String of(Tensor tensor) {
        String unreachable = !tensor.pointer().scope().isAlive()
                ? "closed"
                : !tensor.pointer().isAccessibleBy(Thread.currentThread()) ? "confined to another thread" : null;
        if (unreachable != null) {
            return tensor.describe() + " (" + unreachable + ")";
        }
        if (tensor.device() != Device.CPU) {
            return tensor.describe() + " on " + tensor.device();
        }
        TensorText text = new TensorText(tensor);
        text.measure(0, new long[tensor.shape().rank()]);
        StringBuilder out = new StringBuilder(tensor.describe());
        out.append(tensor.shape().rank() > 1 ? "\n" : " ");
        text.write(out, 0, new long[tensor.shape().rank()]);
        return out.toString();
    }

    private void measure(int axis, long[] index) {
        if (axis == index.length) {
            width = Math.max(width, value(index).length());
            return;
        }
        for (long i : shown(axis)) {
            if (i >= 0) {
                index[axis] = i;
                measure(axis + 1, index);
            }
        }
    }

    private void write(StringBuilder out, int axis, long[] index) {
        if (axis == index.length) {
            String value = value(index);
            out.append(axis == 0 ? "" : " ".repeat(width - value.length())).append(value);
            return;
        }
        boolean last = axis == index.length - 1;
        String separator = last ? ", " : ",\n" + " ".repeat(axis + 1);
        out.append('[');
        String before = "";
        for (long i : shown(axis)) {
            out.append(before);
            if (i < 0) {
                out.append(ELLIPSIS);
            } else {
                index[axis] = i;
                write(out, axis + 1, index);
            }
            before = separator;
        }
        out.append(']');
    }

    /** The indices of an axis that are printed; -1 where others are left out. */
    private List<Long> shown(int axis) {
        long size = tensor.shape().size(axis);
        boolean cut = size > 2 * EDGE && (elide || size > MAX_ELEMENTS);
        List<Long> indices = new ArrayList<>();
        for (long i = 0; i < size; i++) {
            if (cut && i == EDGE) {
                indices.add(-1L);
                i = size - EDGE;
            }
            indices.add(i);
        }
        return indices;
    }

    private String value(long[] index) {
        return tensor.dtype().isFloat() ? number(tensor.getFloat(index)) : Integer.toString(tensor.getInt(index));
    }

    /** Five significant digits, as many as a person compares at a glance. */
    private static String number(float value) {
        if (value == Math.rint(value) && Math.abs(value) < 1e5) {
            return Integer.toString((int) value) + ".";
        }
        if (Float.isNaN(value) || Float.isInfinite(value)) {
            return Float.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
        }
        float magnitude = Math.abs(value);
        String format = magnitude >= 1e-4f && magnitude < 1e5f
                ? "%." + Math.max(0, 4 - (int) Math.floor(Math.log10(magnitude))) + "f"
                : "%.4e";
        return String.format(Locale.ROOT, format, value);
    }
}
