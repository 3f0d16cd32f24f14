package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.bench.Contender;
import io.gatun.bench.Peer;
import io.gatun.bench.QMatmulCase;
import io.gatun.bench.QMatmulData;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * libtorch's products with quantized weights, through the C functions that compiled models call: bf16 activations by int4
 * weights in groups ({@code _weight_int4pack_mm}) and by int8 weights with a scale for each row
 * ({@code _weight_int8pack_mm}). When Gatun is precise, f32 weights that were expanded before, in the layout that compiled
 * models use ({@code mkldnn::_linear_pointwise}).
 *
 * <p>Its dynamically quantized linear layer keeps its weights in an object that these functions cannot pass.
 */
@SuppressWarnings("restricted")
final class LibTorch implements Peer {
    private static final int INT8 = 1;
    private static final int INT32 = 3;
    private static final int INT64 = 4;
    private static final int F32 = 6;
    private static final int BF16 = 15;
    private static final Set<Integer> INT4_GROUPS = Set.of(32, 64, 128, 256);

    private final MethodHandle setThreads;
    private final MethodHandle setGradients;
    private final MethodHandle wrap;
    private final MethodHandle share;
    private final MethodHandle delete;
    private final MethodHandle data;
    private final MethodHandle dispatch;
    private final MethodHandle int4Product;
    private final MethodHandle int8Product;
    private final MethodHandle linear;
    private final MethodHandle whatFailed;
    private final String version;

    LibTorch() throws IOException {
        String blas = "org/bytedeco/openblas/linux-x86_64/";
        String torch = "org/bytedeco/pytorch/linux-x86_64/";
        NativeCode library = new NativeCode(
                blas + "libquadmath.so.0",
                blas + "libgfortran.so.5",
                blas + "libopenblas.so.0",
                torch + "libgomp.so.1",
                torch + "libc10.so",
                torch + "libtorch_cpu.so");
        setThreads = library.procedure("omp_set_num_threads", JAVA_INT);
        setGradients = library.procedure("aoti_torch_grad_mode_set_enabled", JAVA_BOOLEAN);
        wrap = library.status(
                "aoti_torch_create_tensor_from_blob",
                ADDRESS, // data
                JAVA_LONG, // dimensions
                ADDRESS, // sizes
                ADDRESS, // strides
                JAVA_LONG, // offset
                JAVA_INT, // element type
                JAVA_INT, // device
                JAVA_INT,
                ADDRESS);
        share = library.status("aoti_torch_new_tensor_handle", ADDRESS, ADDRESS);
        delete = library.status("aoti_torch_delete_tensor_object", ADDRESS);
        data = library.status("aoti_torch_get_data_ptr", ADDRESS, ADDRESS);
        dispatch = library.status("aoti_torch_call_dispatcher", ADDRESS, ADDRESS, ADDRESS);
        int4Product = library.status(
                "aoti_torch_cpu__weight_int4pack_mm_cpu_tensor", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        int8Product = library.status("aoti_torch_cpu__weight_int8pack_mm", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        linear = library.status(
                "aoti_torch_cpu__linear_pointwise",
                ADDRESS, // x
                ADDRESS, // weights
                ADDRESS, // bias
                ADDRESS, // what follows: name, scalars and their number, algorithm
                ADDRESS,
                JAVA_LONG,
                ADDRESS,
                ADDRESS);
        whatFailed = library.function("torch_exception_get_what_without_backtrace", FunctionDescriptor.of(ADDRESS));
        version = version(library);
    }

    /** One byte each of major, minor and patch version from the top. */
    private static String version(NativeCode library) {
        try {
            long number = (long) library.function("aoti_torch_abi_version", FunctionDescriptor.of(JAVA_LONG))
                    .invokeExact();
            return (number >>> 56) + "." + (number >>> 48 & 0xff) + "." + (number >>> 40 & 0xff);
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    @Override
    public String name() {
        return "libtorch";
    }

    @Override
    public String version() {
        return version;
    }

    @Override
    public Contender prepare(QMatmulCase problem, QMatmulData input) {
        boolean int4 = INT4_GROUPS.contains(problem.group())
                && problem.depth() % problem.group() == 0
                && problem.columns() % 64 == 0;
        boolean int8 = problem.group() == 0 && problem.columns() % 32 == 0 && problem.depth() % 32 == 0;
        boolean fits = problem.precise() || (problem.isInt4() ? int4 : int8);
        return fits ? new Setup(problem, input).contender() : null;
    }

    /** One of the products: fills a pointer with a new tensor. */
    private interface Product {
        int call(MemorySegment weights, MemorySegment y) throws Throwable;
    }

    /** Tensors of a case. */
    private final class Setup {
        private final Arena arena = Arena.ofShared();
        private final List<MemorySegment> tensors = new ArrayList<>();
        private final QMatmulCase problem;
        private final Weights weights;
        private final int type;
        private final MemorySegment x;

        Setup(QMatmulCase problem, QMatmulData input) {
            this.problem = problem;
            this.weights = new Weights(problem, input);
            type = problem.precise() ? F32 : BF16;
            MemorySegment values = floats(input.x.length);
            if (type == F32) {
                MemorySegment.copy(input.x, 0, values, JAVA_FLOAT, 0, input.x.length);
            } else {
                Bf16.copy(input.x, values);
            }
            x = tensor(values, type, problem.rows(), problem.depth());
        }

        Contender contender() {
            try {
                if (problem.precise()) {
                    return expanded();
                }
                return problem.isInt4() ? int4() : int8();
            } catch (RuntimeException | Error e) {
                close();
                throw e;
            }
        }

        /** Scales and zero points [groups, N, 2]; its weights are codes 0..15 that stand for code - 8, as ours. */
        private Contender int4() {
            MemorySegment scales = floats(2L * weights.columns * weights.groups);
            for (int n = 0; n < weights.columns; n++) {
                for (int g = 0; g < weights.groups; g++) {
                    scales.setAtIndex(JAVA_SHORT, 2 * ((long) g * weights.columns + n), Bf16.of(weights.scale(n, g)));
                }
            }
            MemorySegment scalesAndZeros = tensor(scales, BF16, weights.groups, weights.columns, 2);
            MemorySegment group = tensor(arena.allocateFrom(JAVA_LONG, weights.group), INT64, 1);
            long count = (long) weights.columns * weights.depth;
            List<MemorySegment> packed = new ArrayList<>();
            try (Arena plain = Arena.ofShared()) {
                MemorySegment[] copies = weights.pack(plain, count * Integer.BYTES, (row, values, target) -> {
                    for (int k = 0; k < values.length; k++) {
                        target.setAtIndex(JAVA_INT, (long) row * weights.depth + k, values[k] + 8);
                    }
                });
                for (MemorySegment copy : copies) {
                    packed.add(dispatch(
                            "aten::_convert_weight_to_int4pack_for_cpu",
                            tensor(copy, INT32, weights.columns, weights.depth),
                            8));
                }
            }
            return contender("_weight_int4pack_mm", packed, (w, y) ->
                    (int) int4Product.invokeExact(x, w, group, scalesAndZeros, y));
        }

        private Contender int8() {
            MemorySegment values = floats(weights.columns);
            for (int n = 0; n < weights.columns; n++) {
                values.setAtIndex(JAVA_SHORT, n, Bf16.of(weights.scale(n, 0)));
            }
            MemorySegment scales = tensor(values, BF16, weights.columns);
            long bytes = (long) weights.columns * weights.depth;
            List<MemorySegment> copies = new ArrayList<>();
            for (MemorySegment copy : weights.pack(arena, bytes, weights::bytes)) {
                copies.add(tensor(copy, INT8, weights.columns, weights.depth));
            }
            return contender("_weight_int8pack_mm", copies, (w, y) -> (int) int8Product.invokeExact(x, w, scales, y));
        }

        private Contender expanded() {
            long bytes = (long) weights.columns * weights.depth * Float.BYTES;
            List<MemorySegment> packed = new ArrayList<>();
            try (Arena plain = Arena.ofShared()) {
                for (MemorySegment copy : weights.pack(plain, bytes, weights::dequantizeF32)) {
                    packed.add(dispatch(
                            "mkldnn::_reorder_linear_weight",
                            tensor(copy, F32, weights.columns, weights.depth),
                            0)); // no optional batch size
                }
            }
            MemorySegment none = MemorySegment.NULL;
            MemorySegment name = arena.allocateFrom("none");
            return contender("mkldnn::_linear_pointwise f32", packed, (w, y) ->
                    (int) linear.invokeExact(x, w, none, name, none, 0L, none, y));
        }

        private Contender contender(String kernel, List<MemorySegment> copies, Product product) {
            MemorySegment y = arena.allocate(ADDRESS);
            String timed = type == F32 ? "product" : "product (activations converted before)";
            return new RotatingContender(LibTorch.this, kernel, timed, copies.size()) {
                private boolean called;

                @Override
                void call(int copy) {
                    try {
                        setThreads.invokeExact(problem.threads()); // settings of this thread
                        setGradients.invokeExact(false);
                        free();
                        check(product.call(copies.get(copy), y));
                        called = true;
                    } catch (Throwable e) {
                        throw NativeCode.failure(e);
                    }
                }

                private void free() {
                    if (called) {
                        LibTorch.this.free(y.get(ADDRESS, 0));
                        called = false;
                    }
                }

                @Override
                void result(float[] values) {
                    MemorySegment pointer = arena.allocate(ADDRESS);
                    check(data, y.get(ADDRESS, 0), pointer);
                    MemorySegment result = pointer.get(ADDRESS, 0).reinterpret((long) values.length * Float.BYTES);
                    if (type == F32) {
                        MemorySegment.copy(result, JAVA_FLOAT, 0, values, 0, values.length);
                    } else {
                        Bf16.copy(result, values);
                    }
                }

                @Override
                public void close() {
                    free();
                    Setup.this.close();
                }
            };
        }

        private MemorySegment floats(long count) {
            return arena.allocate(count * Float.BYTES, Weights.ALIGNMENT);
        }

        /** A tensor in a buffer, row by row. */
        private MemorySegment tensor(MemorySegment values, int elementType, long... sizes) {
            long[] strides = new long[sizes.length];
            long stride = 1;
            for (int i = sizes.length - 1; i >= 0; i--) {
                strides[i] = stride;
                stride *= sizes[i];
            }
            try (Arena shapes = Arena.ofConfined()) {
                MemorySegment tensor = shapes.allocate(ADDRESS);
                check(
                        wrap,
                        values,
                        (long) sizes.length,
                        shapes.allocateFrom(JAVA_LONG, sizes),
                        shapes.allocateFrom(JAVA_LONG, strides),
                        0L,
                        elementType,
                        0,
                        0,
                        tensor);
                return remember(tensor.get(ADDRESS, 0));
            }
        }

        /** Calls an operation of a tensor and a number that gives a tensor. */
        private MemorySegment dispatch(String operation, MemorySegment tensor, long number) {
            try (Arena call = Arena.ofConfined()) {
                MemorySegment shared = call.allocate(ADDRESS);
                check(share, tensor, shared); // the call takes its arguments away
                MemorySegment stack = call.allocateFrom(JAVA_LONG, shared.get(JAVA_LONG, 0), number);
                check(dispatch, call.allocateFrom(operation), call.allocateFrom(""), stack);
                return remember(stack.get(ADDRESS, 0));
            }
        }

        private MemorySegment remember(MemorySegment tensor) {
            tensors.add(tensor);
            return tensor;
        }

        private void close() {
            tensors.forEach(LibTorch.this::free);
            arena.close();
        }
    }

    private void free(MemorySegment tensor) {
        check(delete, tensor);
    }

    private void check(MethodHandle function, Object... arguments) {
        try {
            check((int) function.invokeWithArguments(arguments));
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    private void check(int status) {
        if (status != 0) {
            throw new IllegalStateException("libtorch: " + lastError());
        }
    }

    private String lastError() {
        try {
            MemorySegment text = (MemorySegment) whatFailed.invokeExact();
            return text.equals(MemorySegment.NULL)
                    ? "no reason given"
                    : text.reinterpret(Long.MAX_VALUE).getString(0);
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }
}
