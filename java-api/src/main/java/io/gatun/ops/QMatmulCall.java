package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_qmatmul_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** The arguments of a call of {@link QMatmul}: checked, and then written into this thread's struct. */
final class QMatmulCall {
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.BF16);
    private static final Set<DType> DEVICE_FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);
    private static final Set<DType> CODES8 = EnumSet.of(DType.F8E4M3, DType.F8E5M2, DType.I8);
    private static final Set<DType> F32 = EnumSet.of(DType.F32);
    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_qmatmul_params::layout);
    private static final ThreadLocal<MemorySegment> GROUP_ROWS =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(ValueLayout.JAVA_LONG, 64));

    private QMatmulCall() {}

    static MemorySegment alone(Tensor x, PackedWeights w, Tensor y, Options options) {
        Check.present("w", w);
        Check.present("x", x);
        return params(x, floats(w.device()), w.argument(), y, options);
    }

    /** What x and y may be. */
    static Set<DType> floats(Device device) {
        return device == Device.CPU ? FLOATS : DEVICE_FLOATS;
    }

    /** Rows of 8-bit floats or integers. */
    static MemorySegment scaled(QuantizedTensor x, PackedWeights w, Tensor y, Options options) {
        Check.present("w", w);
        Check.present("x", x);
        QuantSpec spec = x.spec();
        boolean fits = CODES8.contains(spec.codes())
                && spec.gguf() == null
                && spec.zeroPoint() == QuantSpec.ZeroPoint.NONE
                && spec.scales() == DType.F32
                && !spec.nested()
                && !spec.blocks().flat()
                && (spec.rowsOf(x.rows()) == 1 || spec.rowsOf(x.rows()) == x.rows() && spec.groups(x.depth()) <= 1);
        if (!fits) {
            throw Check.invalid(
                    "x", spec, "QuantSpec.fp8 or int8, f32 scales per tensor, per row or of groups of a row");
        }
        QMatmul.Mode mode = spec.codes() != DType.I8
                ? QMatmul.Mode.BF16
                : spec.groups(x.depth()) <= 1 && w.spec().groups(w.depth()) > 1
                        ? QMatmul.Mode.INT8_ROW
                        : QMatmul.Mode.INT8_GROUP;
        if (!w.modes().contains(mode)) {
            throw Check.unsupported("w", w.spec() + " with x in " + spec.codes(), "weights that take the mode " + mode);
        }
        Check.present("options", options);
        if (options.mode() != QMatmul.Mode.AUTO && options.mode() != mode) {
            throw Check.invalid("options.mode", options.mode() + " with x in " + spec.codes(), mode + " or AUTO");
        }
        MemorySegment params = params(x.codes(), CODES8, w.argument(), y, options);
        gatun_qmatmul_params.mode(params, mode.ordinal());
        Check.reachable("x.scales", x.scales());
        Check.disjoint("y", y, "x.scales", x.scales());
        return params;
    }

    /** From the scales of a row to those of the next one; 0 of one scale for all. */
    static long scaleStride(QuantizedTensor x) {
        return x.scales().shape().size(0) < x.rows() ? 0 : x.scales().shape().size(1);
    }

    static MemorySegment concat(Tensor x, PackedStack stack, Tensor y, Options options) {
        Check.present("stack", stack);
        Check.present("x", x);
        Check.onCpu(x);
        return params(x, FLOATS, stack.sideBySide(), y, options);
    }

    /** {@code groups} is what {@link #groups} gave: the caller may change the array meanwhile. */
    static MemorySegment grouped(Tensor x, MemorySegment groups, PackedStack stack, Tensor y, Options options) {
        Check.present("x", x);
        Check.onCpu(x);
        if (stack.columnsOfEach() < 0) {
            throw Check.invalid("stack", stack, "weights of equal columns");
        }
        MemorySegment params = params(x, FLOATS, stack.byRows(), y, options);
        long left = x.shape().size(0);
        for (int i = 0; i < stack.size(); i++) {
            long rows = groups.getAtIndex(ValueLayout.JAVA_LONG, i);
            if (rows < 0 || rows > left) {
                throw Check.invalid("rows[" + i + "]", rows, "0.." + left + ", what is left of x");
            }
            left -= rows;
        }
        if (left != 0) {
            throw Check.invalid("rows", "groups of all but " + left + " rows", "all rows of x " + x.shape());
        }
        return params;
    }

    /** This thread's native copy of the rows of each group, which nobody changes while it is checked and used. */
    static MemorySegment groups(long[] rows, PackedStack stack) {
        Check.present("stack", stack);
        Check.present("rows", rows);
        if (rows.length != stack.size()) {
            throw Check.invalid("rows", rows.length + " groups", stack.size() + ", one for each weight");
        }
        MemorySegment groups = GROUP_ROWS.get();
        if (groups.byteSize() < rows.length * ValueLayout.JAVA_LONG.byteSize()) {
            groups = Arena.ofAuto().allocate(ValueLayout.JAVA_LONG, 2L * rows.length);
            GROUP_ROWS.set(groups);
        }
        MemorySegment.copy(rows, 0, groups, ValueLayout.JAVA_LONG, 0, rows.length);
        return groups;
    }

    /**
     * Packed weights, one or several, as an argument; made with them, so that a call allocates nothing.
     *
     * @param name of the argument
     * @param packed all of them
     * @param depth columns of x
     * @param columns of y
     * @param biases rows of a bias matrix, or -1 for a vector
     * @param modes that they take, the default one first
     */
    record Weights(String name, Tensor packed, long depth, long columns, long biases, List<QMatmul.Mode> modes) {
        Weights(String name, MemorySegment packed, long depth, long columns, long biases, List<QMatmul.Mode> modes) {
            this(name, Tensor.wrap(packed, DType.U8, packed.byteSize()), depth, columns, biases, modes);
        }

        Device device() {
            return packed.device();
        }
    }

    /** Refuses what does not fit, of any kind of packed weights; {@code x} is there. */
    static void check(Tensor x, Set<DType> xTypes, Weights weights, Tensor y, Options options) {
        Check.present("y", y);
        Check.present("options", options);
        Check.dtype("x", x, xTypes);
        Check.matrix("x", x, -1, weights.depth);
        long columns = weights.columns;
        Check.rowMajor("x", x);
        Check.dtype("y", y, floats(weights.device()));
        long rows = x.shape().size(0);
        Check.matrix("y", y, rows, columns);
        Check.rowMajor("y", y);
        long begin = options.columnBegin();
        long end = columnEnd(options, columns);
        if (end > columns || begin > end) {
            throw Check.invalid("columns", begin + ".." + end, "a part of 0.." + columns);
        }
        Check.reachable("x", x);
        Check.reachable(weights.name, weights.packed);
        Check.reachable("y", y);
        Check.writable("y", y);
        Check.disjoint("y", y, "x", x);
        Check.disjoint("y", y, weights.name, weights.packed);
        Check.device("y", y, "x", x.device());
        Check.device(weights.name, weights.packed, "x", x.device());
        Check.device("bias", options.bias(), "x", x.device());
        Check.device("residual", options.residual(), "x", x.device());
        if (options.bias() != null) {
            checkBias(options.bias(), weights.biases, columns, y);
        }
        if (options.residual() != null) {
            checkResidual(options.residual(), y);
        }
    }

    private static MemorySegment params(Tensor x, Set<DType> xTypes, Weights weights, Tensor y, Options options) {
        check(x, xTypes, weights, y, options);
        long rows = x.shape().size(0);
        MemorySegment params = PARAMS.get();
        gatun_qmatmul_params.x_dtype(params, x.dtype().code());
        gatun_qmatmul_params.y_dtype(params, y.dtype().code());
        gatun_qmatmul_params.mode(params, mode(x, options, weights).ordinal());
        gatun_qmatmul_params.activation(params, options.activation().ordinal());
        gatun_qmatmul_params.threads(params, options.threads());
        gatun_qmatmul_params.rows(params, rows);
        // The native side compares them with the headers, which whoever owns wrapped memory may have changed.
        gatun_qmatmul_params.columns(params, weights.columns);
        gatun_qmatmul_params.depth(params, weights.depth);
        gatun_qmatmul_params.x_row_stride(params, Native.rowStride(x));
        gatun_qmatmul_params.y_row_stride(params, Native.rowStride(y));
        gatun_qmatmul_params.residual_row_stride(
                params, options.residual() == null ? 0 : Native.rowStride(options.residual()));
        gatun_qmatmul_params.column_begin(params, options.columnBegin());
        gatun_qmatmul_params.column_end(params, columnEnd(options, weights.columns));
        return params;
    }

    static long columnEnd(Options options, long columns) {
        return options.columnEnd() == -1 ? columns : options.columnEnd();
    }

    static QMatmul.Mode mode(Tensor x, Options options, Weights weights) {
        if (options.mode() == QMatmul.Mode.AUTO) {
            boolean half = x.dtype() == DType.F16 && weights.modes.contains(QMatmul.Mode.F16);
            return half ? QMatmul.Mode.F16 : weights.modes.get(0);
        }
        if (!weights.modes.contains(options.mode())) {
            throw Check.unsupported("options.mode", options.mode(), "AUTO, " + weights.modes);
        }
        return options.mode();
    }

    private static void checkBias(Tensor bias, long biases, long columns, Tensor y) {
        Check.dtype("bias", bias, F32);
        if (biases < 0) {
            Check.vector("bias", bias, columns);
        } else {
            Check.matrix("bias", bias, biases, columns);
            Check.contiguous("bias", bias);
        }
        Check.reachable("bias", bias);
        Check.disjoint("y", y, "bias", bias);
    }

    private static void checkResidual(Tensor residual, Tensor y) {
        if (residual.dtype() != y.dtype()) {
            throw Check.invalid("residual", "dtype " + residual.dtype(), "the dtype of y, " + y.dtype());
        }
        Check.matrix("residual", residual, y.shape().size(0), y.shape().size(1));
        Check.rowMajor("residual", residual);
        Check.reachable("residual", residual);
        boolean same = residual.address() == y.address() && Native.rowStride(residual) == Native.rowStride(y);
        if (!same) {
            Check.disjoint("y", y, "residual", residual);
        }
    }
}
