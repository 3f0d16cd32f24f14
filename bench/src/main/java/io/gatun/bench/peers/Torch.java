package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/** What the bench needs of the C functions that libtorch has for compiled models. A tensor is a pointer. */
@SuppressWarnings("restricted")
final class Torch {
    /** Element types. */
    static final int INT8 = 1;

    static final int INT32 = 3;
    static final int INT64 = 4;
    static final int F32 = 6;
    static final int BF16 = 15;

    /** (x, weights, group, scales and zero points, pointer to y). */
    final MethodHandle int4Product;

    /** (x, weights, scales, pointer to y). */
    final MethodHandle int8Product;

    /** (x, weights, bias, name of what follows, its scalars, their number, its algorithm, pointer to y). */
    final MethodHandle linear;

    /** (q, k, v, dropout, causal, pointer to mask, pointer to scale, pointers to y and log-sum-exp). */
    final MethodHandle attention;

    private final MethodHandle setThreads;
    private final MethodHandle setThreadsOfNewCallers;
    private final MethodHandle setGradients;
    private final MethodHandle wrap;
    private final MethodHandle share;
    private final MethodHandle delete;
    private final MethodHandle data;
    private final MethodHandle dispatch;
    private final MethodHandle whatFailed;
    private final String version;
    private final NativeCode library;
    private int threadsOfNewCallers;

    Torch() throws IOException {
        String blas = "org/bytedeco/openblas/linux-x86_64/";
        String torch = "org/bytedeco/pytorch/linux-x86_64/";
        library = new NativeCode(
                blas + "libquadmath.so.0",
                blas + "libgfortran.so.5",
                blas + "libopenblas.so.0",
                torch + "libgomp.so.1",
                torch + "libc10.so",
                torch + "libtorch_cpu.so");
        int4Product = library.status(
                "aoti_torch_cpu__weight_int4pack_mm_cpu_tensor", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        int8Product = library.status("aoti_torch_cpu__weight_int8pack_mm", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        linear = library.status(
                "aoti_torch_cpu__linear_pointwise",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_LONG,
                ADDRESS,
                ADDRESS);
        attention = library.status(
                "aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_DOUBLE,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS);
        setThreads = library.procedure("omp_set_num_threads", JAVA_INT);
        setThreadsOfNewCallers = library.procedure("_ZN2at15set_num_threadsEi", JAVA_INT); // at::set_num_threads(int)
        setGradients = library.procedure("aoti_torch_grad_mode_set_enabled", JAVA_BOOLEAN);
        wrap = library.status(
                "aoti_torch_create_tensor_from_blob",
                ADDRESS, // data
                JAVA_LONG, // dimensions
                ADDRESS, // sizes
                ADDRESS, // strides
                JAVA_LONG, // offset
                JAVA_INT, // element type
                JAVA_INT, // device and its number
                JAVA_INT,
                ADDRESS);
        share = library.status("aoti_torch_new_tensor_handle", ADDRESS, ADDRESS);
        delete = library.status("aoti_torch_delete_tensor_object", ADDRESS);
        data = library.status("aoti_torch_get_data_ptr", ADDRESS, ADDRESS);
        dispatch = library.status("aoti_torch_call_dispatcher", ADDRESS, ADDRESS, ADDRESS);
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

    String version() {
        return version;
    }

    /** A C++ function that returns nothing. What it throws ends the process. */
    MethodHandle operation(String symbol, MemoryLayout... arguments) {
        return library.procedure(symbol, arguments);
    }

    /**
     * Settings of the calling thread: how many threads its operations use; no gradients.
     *
     * <p>With its first operation that is shared among threads, a thread takes the number that libtorch keeps for the
     * process in place of its own. That one is set where it changes only, as libtorch then forgets what it has
     * prepared.
     */
    void enter(int threads) {
        try {
            if (threads != threadsOfNewCallers) {
                setThreadsOfNewCallers.invokeExact(threads);
                threadsOfNewCallers = threads;
            }
            setThreads.invokeExact(threads);
            setGradients.invokeExact(false);
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    /** The elements of a tensor. */
    MemorySegment data(MemorySegment tensor, long bytes) {
        try (Arena call = Arena.ofConfined()) {
            MemorySegment pointer = call.allocate(ADDRESS);
            check(data, tensor, pointer);
            return pointer.get(ADDRESS, 0).reinterpret(bytes);
        }
    }

    void free(MemorySegment tensor) {
        check(delete, tensor);
    }

    /** @throws IllegalStateException unless a call has returned 0 */
    void check(int status) {
        if (status == 0) {
            return;
        }
        try {
            MemorySegment text = (MemorySegment) whatFailed.invokeExact();
            throw new IllegalStateException("libtorch fails"
                    + (text.equals(MemorySegment.NULL)
                            ? ""
                            : ": " + text.reinterpret(Long.MAX_VALUE).getString(0)));
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    private void check(MethodHandle function, Object... arguments) {
        try {
            check((int) function.invokeWithArguments(arguments));
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    /** Tensors and memory that go away together. */
    final class Scope implements AutoCloseable {
        private final Arena arena = Arena.ofShared();
        private final List<MemorySegment> tensors = new ArrayList<>();

        Arena arena() {
            return arena;
        }

        /** A tensor in a buffer, row by row. */
        MemorySegment tensor(MemorySegment values, int elementType, long... sizes) {
            long[] strides = new long[sizes.length];
            long stride = 1;
            for (int i = sizes.length - 1; i >= 0; i--) {
                strides[i] = stride;
                stride *= sizes[i];
            }
            try (Arena call = Arena.ofConfined()) {
                MemorySegment tensor = call.allocate(ADDRESS);
                check(
                        wrap,
                        values,
                        (long) sizes.length,
                        call.allocateFrom(JAVA_LONG, sizes),
                        call.allocateFrom(JAVA_LONG, strides),
                        0L,
                        elementType,
                        0,
                        0,
                        tensor);
                return remember(tensor.get(ADDRESS, 0));
            }
        }

        /** Calls an operation of a tensor and a number that gives a tensor. */
        MemorySegment dispatch(String operation, MemorySegment tensor, long number) {
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

        @Override
        public void close() {
            tensors.forEach(Torch.this::free);
            arena.close();
        }
    }
}
