package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.bench.Contender;
import io.gatun.bench.HugePages;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import io.gatun.bench.RotatingContender;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * libtorch's products with quantized weights, as compiled models call them: bf16 activations by int4 weights in groups
 * ({@code _weight_int4pack_mm}) and by int8 weights with a scale for each row ({@code _weight_int8pack_mm}). Where values are
 * multiplied in f32 or bf16, weights that were expanded before, in the layout that compiled models use
 * ({@code mkldnn::_linear_pointwise}).
 *
 * <p>Its dynamically quantized linear layer keeps its weights in an object that no C function can pass.
 */
final class LibTorch implements Peer {
    private static final Set<Integer> INT4_GROUPS = Set.of(32, 64, 128, 256);

    private final Torch torch;

    LibTorch() throws IOException {
        torch = new Torch();
    }

    @Override
    public String name() {
        return "libtorch";
    }

    @Override
    public String version() {
        return torch.version();
    }

    @Override
    public Contender prepare(QMatmulCase problem, QMatmulData data) {
        boolean int4 = INT4_GROUPS.contains(problem.group())
                && problem.depth() % problem.group() == 0
                && problem.columns() % 64 == 0;
        boolean int8 = problem.group() == 0 && problem.columns() % 32 == 0 && problem.depth() % 32 == 0;
        if (!isExpanded(problem) && !(problem.isInt4() ? int4 : int8)) {
            return null;
        }
        Torch.Scope scope = torch.new Scope();
        try {
            torch.enter(problem.threads());
            return new Setup(scope, problem, data).contender();
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }

    private static boolean isExpanded(QMatmulCase problem) {
        return problem.precise() || problem.inBf16();
    }

    /** One of the products: fills a pointer with a new tensor and returns a status. */
    private interface Product {
        int call(MemorySegment weights, MemorySegment y) throws Throwable;
    }

    /** Makes the operands of a case. */
    private final class Setup {
        private final Torch.Scope scope;
        private final QMatmulCase problem;
        private final Weights weights;
        private final int type;
        private final MemorySegment x;

        Setup(Torch.Scope scope, QMatmulCase problem, QMatmulData data) {
            this.scope = scope;
            this.problem = problem;
            this.weights = new Weights(problem, data);
            type = problem.precise() ? Torch.F32 : Torch.BF16;
            MemorySegment values = floats(data.x.length);
            if (type == Torch.F32) {
                MemorySegment.copy(data.x, 0, values, JAVA_FLOAT, 0, data.x.length);
            } else {
                Bf16.copy(data.x, values);
            }
            x = scope.tensor(values, type, problem.rows(), problem.depth());
        }

        Contender contender() {
            if (isExpanded(problem)) {
                return expanded();
            }
            return problem.isInt4() ? int4() : int8();
        }

        /** Scales and zero points [groups, N, 2]; its weights are codes 0..15 that stand for code - 8, as ours. */
        private Contender int4() {
            MemorySegment values = floats(2L * weights.columns * weights.groups);
            for (int n = 0; n < weights.columns; n++) {
                for (int g = 0; g < weights.groups; g++) {
                    values.setAtIndex(JAVA_SHORT, 2 * ((long) g * weights.columns + n), Bf16.of(weights.scale(n, g)));
                }
            }
            MemorySegment scalesAndZeros = scope.tensor(values, Torch.BF16, weights.groups, weights.columns, 2);
            MemorySegment group = scope.tensor(scope.arena().allocateFrom(JAVA_LONG, weights.group), Torch.INT64, 1);
            Weights.RowPacker packer = (row, codes, target) -> {
                for (int k = 0; k < codes.length; k++) {
                    target.setAtIndex(JAVA_INT, (long) row * weights.depth + k, codes[k] + 8);
                }
            };
            List<MemorySegment> packed = packed(
                    weights.copies((long) weights.columns * weights.depth / 2),
                    Torch.INT32,
                    Integer.BYTES,
                    packer,
                    "aten::_convert_weight_to_int4pack_for_cpu",
                    8);
            return contender("_weight_int4pack_mm", packed, (w, y) ->
                    (int) torch.int4Product.invokeExact(x, w, group, scalesAndZeros, y));
        }

        private Contender int8() {
            MemorySegment values = floats(weights.columns);
            for (int n = 0; n < weights.columns; n++) {
                values.setAtIndex(JAVA_SHORT, n, Bf16.of(weights.scale(n, 0)));
            }
            MemorySegment scales = scope.tensor(values, Torch.BF16, weights.columns);
            long bytes = (long) weights.columns * weights.depth;
            List<MemorySegment> copies = new ArrayList<>();
            for (MemorySegment copy : weights.pack(scope.arena(), bytes, weights::bytes)) {
                copies.add(scope.tensor(copy, Torch.INT8, weights.columns, weights.depth));
            }
            return contender(
                    "_weight_int8pack_mm", copies, (w, y) -> (int) torch.int8Product.invokeExact(x, w, scales, y));
        }

        private Contender expanded() {
            MemorySegment none = MemorySegment.NULL;
            MemorySegment name = scope.arena().allocateFrom("none");
            boolean f32 = type == Torch.F32;
            int bytes = f32 ? Float.BYTES : Short.BYTES;
            List<MemorySegment> packed = packed(
                    weights.copies((long) weights.columns * weights.depth * bytes),
                    type,
                    bytes,
                    f32 ? weights::dequantizeF32 : weights::dequantizeBf16,
                    "mkldnn::_reorder_linear_weight",
                    0); // no batch size is given
            return contender("mkldnn::_linear_pointwise " + (f32 ? "f32" : "bf16"), packed, (w, y) ->
                    (int) torch.linear.invokeExact(x, w, none, name, none, 0L, none, y));
        }

        /** Copies of the weights after an operation that packs them. */
        private List<MemorySegment> packed(
                int copies,
                int elementType,
                int elementBytes,
                Weights.RowPacker packer,
                String operation,
                long argument) {
            long bytes = (long) weights.columns * weights.depth * elementBytes;
            List<MemorySegment> packed = new ArrayList<>();
            weights.convert(copies, bytes, packer, plain -> {
                MemorySegment tensor = scope.tensor(plain, elementType, weights.columns, weights.depth);
                packed.add(scope.dispatch(operation, tensor, argument));
            });
            return packed;
        }

        private MemorySegment floats(long count) {
            return HugePages.allocate(scope.arena(), count * Float.BYTES);
        }

        private Contender contender(String kernel, List<MemorySegment> copies, Product product) {
            MemorySegment y = scope.arena().allocate(ADDRESS);
            String timed = type == Torch.F32 ? "product" : "product (activations converted before)";
            return new RotatingContender(LibTorch.this, kernel, timed, copies.size()) {
                private boolean called;

                @Override
                protected void call(int copy) {
                    torch.enter(problem.threads());
                    free();
                    try {
                        torch.check(product.call(copies.get(copy), y));
                    } catch (Throwable e) {
                        throw NativeCode.failure(e);
                    }
                    called = true;
                }

                private void free() {
                    if (called) {
                        called = false;
                        torch.free(y.get(ADDRESS, 0));
                    }
                }

                @Override
                protected void result(float[] values) {
                    MemorySegment result = torch.data(y.get(ADDRESS, 0), (long) values.length * Float.BYTES);
                    if (type == Torch.F32) {
                        MemorySegment.copy(result, JAVA_FLOAT, 0, values, 0, values.length);
                    } else {
                        Bf16.copy(result, values);
                    }
                }

                @Override
                public void close() {
                    free();
                    scope.close();
                }
            };
        }
    }
}
