package io.gatun.bench.peers;

import io.gatun.bench.Contender;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import io.gatun.bench.RotatingContender;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * oneDNN's matmul in one of the forms that it offers for quantized weights; each is a peer of its own, as their errors
 * differ:
 *
 * <ul>
 *   <li>activations and weights are integers;
 *   <li>activations are bf16, weights int4 that it expands itself;
 *   <li>both are bf16, weights having been expanded before: faster, but four times the memory.
 * </ul>
 *
 * When Gatun is precise, the first one stands for f32 weights that were expanded before. Int4 weights stay as they are,
 * [K, N]: oneDNN has no packed layout for them; others are reordered to the one that it asks for.
 */
final class OneDnn implements Peer {
    private enum Form {
        INTEGERS("onednn"),
        W4A16("onednn-w4a16"),
        BF16("onednn-bf16");

        private final String peer;

        Form(String peer) {
            this.peer = peer;
        }
    }

    private final Dnnl dnnl;
    private final Form form;

    private OneDnn(Dnnl dnnl, Form form) {
        this.dnnl = dnnl;
        this.form = form;
    }

    /** All forms. */
    static List<Peer> all() throws IOException {
        Dnnl dnnl = new Dnnl();
        return Arrays.stream(Form.values())
                .<Peer>map(form -> new OneDnn(dnnl, form))
                .toList();
    }

    @Override
    public String name() {
        return form.peer;
    }

    @Override
    public String version() {
        return dnnl.version();
    }

    @Override
    public Contender prepare(QMatmulCase problem, QMatmulData data) {
        if (problem.precise()) {
            return form == Form.INTEGERS ? product(problem, data, Dnnl.F32, Dnnl.F32) : null;
        }
        if (problem.inBf16()) {
            return form == Form.BF16 ? product(problem, data, Dnnl.BF16, Dnnl.BF16) : null;
        }
        boolean wholeGroups = problem.depth() % problem.groupSize() == 0 && problem.columns() % 2 == 0;
        return switch (form) {
            case BF16 -> problem.isInt4() ? product(problem, data, Dnnl.BF16, Dnnl.BF16) : null;
            case W4A16 -> problem.isInt4() && wholeGroups ? product(problem, data, Dnnl.BF16, Dnnl.S4) : null;
            case INTEGERS -> {
                if (problem.isInt4()) {
                    yield wholeGroups ? product(problem, data, Dnnl.U8, Dnnl.S4) : null;
                }
                yield problem.group() == 0 ? product(problem, data, Dnnl.U8, Dnnl.S8) : null;
            }
        };
    }

    private Contender product(QMatmulCase problem, QMatmulData data, int xType, int weightType) {
        Dnnl.Scope scope = dnnl.new Scope();
        try {
            dnnl.setThreads(problem.threads());
            return new Setup(scope, problem, data, xType, weightType).contender();
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }

    /** Makes the operation of a case and its operands. */
    private final class Setup {
        private static final int ZERO = 128; // the u8 that stands for an activation of 0

        private final Dnnl.Scope scope;
        private final QMatmulCase problem;
        private final QMatmulData data;
        private final Weights weights;
        private final int xType;
        private final int weightType;
        private final float step;

        Setup(Dnnl.Scope scope, QMatmulCase problem, QMatmulData data, int xType, int weightType) {
            this.scope = scope;
            this.problem = problem;
            this.data = data;
            this.weights = new Weights(problem, data);
            this.xType = xType;
            this.weightType = weightType;
            step = xType == Dnnl.U8 ? largest(data.x) / (ZERO - 1) : 1;
        }

        private static float largest(float[] values) {
            float largest = 0;
            for (float value : values) {
                largest = Math.max(largest, Math.abs(value));
            }
            return largest;
        }

        Contender contender() {
            long rows = problem.rows();
            long columns = problem.columns();
            long depth = problem.depth();
            boolean int4 = weightType == Dnnl.S4;
            boolean scaled = int4 || weightType == Dnnl.S8;
            MemorySegment attributes = scope.attributes();
            if (scaled) {
                scope.scaleWeights(attributes, problem.group());
            }
            if (int4 && xType == Dnnl.BF16) {
                scope.multiplyInBf16(attributes);
            }
            MemorySegment xLook = scope.descriptor(xType, Dnnl.ROWS, rows, depth);
            MemorySegment wLook = scope.descriptor(weightType, int4 ? Dnnl.ROWS : Dnnl.ANY, depth, columns);
            MemorySegment yLook = scope.descriptor(Dnnl.F32, Dnnl.ROWS, rows, columns);
            MemorySegment biasLook =
                    xType == Dnnl.U8 ? scope.descriptor(Dnnl.F32, Dnnl.ROWS, 1, columns) : MemorySegment.NULL;
            MemorySegment operation = scope.matmul(xLook, wLook, biasLook, yLook, attributes);
            MemorySegment primitive = scope.primitive(operation);

            MemorySegment y = scope.allocate(yLook);
            Map<Integer, MemorySegment> arguments = new HashMap<>();
            arguments.put(Dnnl.SOURCE, scope.memory(xLook, x(xLook)));
            arguments.put(Dnnl.DESTINATION, scope.memory(yLook, y));
            MemorySegment bias = xType == Dnnl.U8 ? bias(biasLook) : MemorySegment.NULL;
            List<MemorySegment> copies = int4 ? int4Weights(wLook) : reordered(scope.weightsOf(operation));
            List<MemorySegment> calls = new ArrayList<>();
            for (MemorySegment copy : copies) {
                arguments.put(Dnnl.WEIGHTS, copy);
                if (xType == Dnnl.U8) {
                    arguments.put(Dnnl.BIAS, scope.memory(biasLook, bias(biasLook, bias, calls.size())));
                }
                if (scaled) {
                    arguments.put(Dnnl.SCALES_OF + Dnnl.WEIGHTS, scales());
                }
                calls.add(scope.arguments(arguments));
            }
            return new RotatingContender(
                    OneDnn.this,
                    types() + " " + scope.nameOf(operation),
                    xType == Dnnl.F32 ? "product" : "product (activations converted before)",
                    calls.size()) {
                @Override
                protected void call(int copy) {
                    dnnl.setThreads(problem.threads()); // of this thread, perhaps not the one that made the operation
                    dnnl.execute(primitive, calls.get(copy));
                }

                @Override
                protected void result(float[] values) {
                    MemorySegment.copy(y, ValueLayout.JAVA_FLOAT, 0, values, 0, values.length);
                }

                @Override
                public void close() {
                    scope.close();
                }
            };
        }

        private String types() {
            return switch (weightType) {
                case Dnnl.S4 -> xType == Dnnl.U8 ? "u8 x s4" : "bf16 x s4";
                case Dnnl.S8 -> "u8 x s8";
                case Dnnl.BF16 -> "bf16 x bf16";
                default -> "f32 x f32";
            };
        }

        /** Activations as f32, as bf16, or as round(x / step) + 128. */
        private MemorySegment x(MemorySegment look) {
            MemorySegment x = scope.allocate(look);
            switch (xType) {
                case Dnnl.F32 -> MemorySegment.copy(data.x, 0, x, ValueLayout.JAVA_FLOAT, 0, data.x.length);
                case Dnnl.BF16 -> Bf16.copy(data.x, x);
                default -> {
                    for (int i = 0; i < data.x.length; i++) {
                        x.set(ValueLayout.JAVA_BYTE, i, (byte) (Math.round(data.x[i] / step) + ZERO));
                    }
                }
            }
            return x;
        }

        /** Takes away what 128 in every activation adds with copy 0. */
        private MemorySegment bias(MemorySegment look) {
            MemorySegment bias = scope.allocate(look);
            for (int n = 0; n < weights.columns; n++) {
                bias.setAtIndex(ValueLayout.JAVA_FLOAT, n, bias(0, n));
            }
            return bias;
        }

        /** The same with another copy, which differs in column 0 alone. */
        private MemorySegment bias(MemorySegment look, MemorySegment first, int copy) {
            MemorySegment bias = scope.allocate(look).copyFrom(first);
            bias.set(ValueLayout.JAVA_FLOAT, 0, bias(copy, 0));
            return bias;
        }

        private float bias(int copy, int n) {
            double sum = 0;
            for (int k = 0; k < weights.depth; k++) {
                int code = data.codeOf(copy, n, k) - (problem.isInt4() ? 8 : 0);
                sum += (double) code * weights.scale(n, k / weights.group);
            }
            return (float) (-ZERO * step * sum);
        }

        /** [groups, N], times what a step of the activations is worth. */
        private MemorySegment scales() {
            MemorySegment look = problem.group() == 0
                    ? scope.descriptor(Dnnl.F32, Dnnl.VECTOR, weights.columns)
                    : scope.descriptor(Dnnl.F32, Dnnl.ROWS, weights.groups, weights.columns);
            MemorySegment scales = scope.allocate(look);
            for (int g = 0; g < weights.groups; g++) {
                for (int n = 0; n < weights.columns; n++) {
                    scales.setAtIndex(
                            ValueLayout.JAVA_FLOAT, (long) g * weights.columns + n, weights.scale(n, g) * step);
                }
            }
            return scope.memory(look, scales);
        }

        private List<MemorySegment> int4Weights(MemorySegment look) {
            Weights.RowPacker packer = (row, values, target) -> {
                for (int k = 0; k < values.length; k++) {
                    Weights.setNibble(target, (long) k * weights.columns + row, values[k]);
                }
            };
            return Arrays.stream(weights.pack(scope.arena(), scope.size(look), packer))
                    .map(codes -> scope.memory(look, codes))
                    .toList();
        }

        private List<MemorySegment> reordered(MemorySegment look) {
            MemorySegment plainLook = scope.descriptor(weightType, Dnnl.COLUMNS, problem.depth(), problem.columns());
            Weights.RowPacker packer = switch (weightType) {
                case Dnnl.F32 -> weights::dequantizeF32;
                case Dnnl.BF16 -> weights::dequantizeBf16;
                default -> weights::bytes;
            };
            MemorySegment reorder = scope.primitive(scope.reorder(plainLook, look));
            List<MemorySegment> copies = new ArrayList<>();
            long bytes = scope.size(plainLook);
            weights.convert(weights.copies(bytes), bytes, packer, plain -> {
                MemorySegment copy = scope.memory(look, scope.allocate(look));
                MemorySegment source = scope.memory(plainLook, plain);
                dnnl.execute(reorder, scope.arguments(Map.of(Dnnl.SOURCE, source, Dnnl.DESTINATION, copy)));
                copies.add(copy);
            });
            return copies;
        }
    }
}
