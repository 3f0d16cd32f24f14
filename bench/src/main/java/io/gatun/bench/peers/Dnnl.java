package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.bench.HugePages;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.Map;
import java.util.stream.Stream;

/** What the bench needs of oneDNN's C interface. Constants are those of dnnl_types.h of version 3. */
@SuppressWarnings("restricted")
final class Dnnl {
    static final int BF16 = 2;
    static final int F32 = 3;
    static final int S8 = 5;
    static final int U8 = 6;
    static final int S4 = 11;

    /** Layouts: the library's choice, a vector, a row-major matrix, a column-major matrix. */
    static final int ANY = 1;

    static final int VECTOR = 2;
    static final int ROWS = 3;
    static final int COLUMNS = 14;

    /** Arguments of a primitive. */
    static final int SOURCE = 1;

    static final int DESTINATION = 17;
    static final int WEIGHTS = 33;
    static final int BIAS = 41;
    static final int SCALES_OF = 4096;

    private static final int CPU = 1;
    private static final int IN_ORDER = 1;
    private static final int QUERY_NAME = 8;
    private static final int QUERY_WEIGHTS = 131;
    private static final int FPMATH_BF16 = 1;

    private static final StructLayout ARGUMENT = MemoryLayout.structLayout(
            JAVA_INT.withName("index"), MemoryLayout.paddingLayout(4), ADDRESS.withName("memory"));

    private final MethodHandle setThreads;
    private final MethodHandle descriptorCreate;
    private final MethodHandle descriptorSize;
    private final MethodHandle descriptorDestroy;
    private final MethodHandle memoryCreate;
    private final MethodHandle memoryDestroy;
    private final MethodHandle attributesCreate;
    private final MethodHandle attributesDestroy;
    private final MethodHandle setScales;
    private final MethodHandle setMath;
    private final MethodHandle matmulCreate;
    private final MethodHandle reorderCreate;
    private final MethodHandle operationDestroy;
    private final MethodHandle queryMemory;
    private final MethodHandle query;
    private final MethodHandle primitiveCreate;
    private final MethodHandle primitiveDestroy;
    private final MethodHandle execute;
    private final MemorySegment engine;
    private final MemorySegment stream;
    private final String version;

    Dnnl() throws IOException {
        String folder = "org/bytedeco/dnnl/linux-x86_64/";
        NativeCode library = new NativeCode(folder + "libgomp.so.1", folder + "libdnnl.so.3");
        setThreads = library.procedure("omp_set_num_threads", JAVA_INT);
        descriptorCreate =
                library.status("dnnl_memory_desc_create_with_tag", ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT);
        descriptorSize = library.function("dnnl_memory_desc_get_size", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
        descriptorDestroy = library.status("dnnl_memory_desc_destroy", ADDRESS);
        memoryCreate = library.status("dnnl_memory_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        memoryDestroy = library.status("dnnl_memory_destroy", ADDRESS);
        attributesCreate = library.status("dnnl_primitive_attr_create", ADDRESS);
        attributesDestroy = library.status("dnnl_primitive_attr_destroy", ADDRESS);
        setScales = library.status(
                "dnnl_primitive_attr_set_scales", ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT);
        setMath = library.status("dnnl_primitive_attr_set_fpmath_mode_v2", ADDRESS, JAVA_INT, JAVA_INT);
        matmulCreate = library.status(
                "dnnl_matmul_primitive_desc_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        reorderCreate = library.status(
                "dnnl_reorder_primitive_desc_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        operationDestroy = library.status("dnnl_primitive_desc_destroy", ADDRESS);
        queryMemory = library.function(
                "dnnl_primitive_desc_query_md", FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT, JAVA_INT));
        query = library.status("dnnl_primitive_desc_query", ADDRESS, JAVA_INT, JAVA_INT, ADDRESS);
        primitiveCreate = library.status("dnnl_primitive_create", ADDRESS, ADDRESS);
        primitiveDestroy = library.status("dnnl_primitive_destroy", ADDRESS);
        execute = library.status("dnnl_primitive_execute", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment created = arena.allocate(ADDRESS);
            check(library.status("dnnl_engine_create", ADDRESS, JAVA_INT, JAVA_LONG), created, CPU, 0L);
            engine = created.get(ADDRESS, 0);
            check(library.status("dnnl_stream_create", ADDRESS, ADDRESS, JAVA_INT), created, engine, IN_ORDER);
            stream = created.get(ADDRESS, 0);
            MemorySegment numbers = (MemorySegment) library.function("dnnl_version", FunctionDescriptor.of(ADDRESS))
                    .invokeExact();
            numbers = numbers.reinterpret(2 * JAVA_INT.byteSize());
            version = numbers.getAtIndex(JAVA_INT, 0) + "." + numbers.getAtIndex(JAVA_INT, 1);
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    String version() {
        return version;
    }

    /** How many threads operations of the calling thread use, both those made and those executed from now on. */
    void setThreads(int threads) {
        try {
            setThreads.invokeExact(threads);
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    /** Executes a primitive on the calling thread and those of OpenMP. */
    void execute(MemorySegment primitive, MemorySegment arguments) {
        try {
            int count = (int) (arguments.byteSize() / ARGUMENT.byteSize());
            check((int) execute.invokeExact(primitive, stream, count, arguments));
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    private static void check(MethodHandle function, Object... arguments) {
        try {
            check((int) function.invokeWithArguments(arguments));
        } catch (Throwable e) {
            throw NativeCode.failure(e);
        }
    }

    private static void check(int status) {
        if (status != 0) {
            throw new UnsupportedOperationException("oneDNN refuses, status " + status);
        }
    }

    /** Objects and memory that go away together. */
    final class Scope implements AutoCloseable {
        private final Arena arena = Arena.ofShared();
        private final Deque<Runnable> destructors = new ArrayDeque<>();

        Arena arena() {
            return arena;
        }

        /** What a tensor looks like. */
        MemorySegment descriptor(int type, int layout, long... sizes) {
            MemorySegment dimensions = arena.allocateFrom(JAVA_LONG, sizes);
            return create(descriptorDestroy, descriptorCreate, sizes.length, dimensions, type, layout);
        }

        long size(MemorySegment descriptor) {
            try {
                return (long) descriptorSize.invokeExact(descriptor);
            } catch (Throwable e) {
                throw NativeCode.failure(e);
            }
        }

        /** A buffer of that look. */
        MemorySegment allocate(MemorySegment descriptor) {
            return HugePages.allocate(arena, size(descriptor));
        }

        /** A tensor in a buffer. */
        MemorySegment memory(MemorySegment descriptor, MemorySegment data) {
            return create(memoryDestroy, memoryCreate, descriptor, engine, data);
        }

        /** Options of an operation. */
        MemorySegment attributes() {
            return create(attributesDestroy, attributesCreate);
        }

        /** Weights [K, N] have f32 scales: for each column, or also for groups of that many rows. */
        void scaleWeights(MemorySegment attributes, long group) {
            if (group == 0) {
                check(setScales, attributes, WEIGHTS, 0b10, 0, MemorySegment.NULL, F32);
            } else {
                MemorySegment sizes = arena.allocateFrom(JAVA_LONG, group, 1);
                check(setScales, attributes, WEIGHTS, 0b11, 2, sizes, F32);
            }
        }

        /** Weights of integers are multiplied as bf16. */
        void multiplyInBf16(MemorySegment attributes) {
            check(setMath, attributes, FPMATH_BF16, 1);
        }

        /** The operation destination = source weights + bias. */
        MemorySegment matmul(
                MemorySegment source,
                MemorySegment weights,
                MemorySegment bias,
                MemorySegment destination,
                MemorySegment attributes) {
            return create(operationDestroy, matmulCreate, engine, source, weights, bias, destination, attributes);
        }

        /** The operation that copies from one layout to another. */
        MemorySegment reorder(MemorySegment source, MemorySegment destination) {
            return create(operationDestroy, reorderCreate, source, engine, destination, engine, MemorySegment.NULL);
        }

        /** How an operation wants its weights. */
        MemorySegment weightsOf(MemorySegment operation) {
            try {
                return (MemorySegment) queryMemory.invokeExact(operation, QUERY_WEIGHTS, 0);
            } catch (Throwable e) {
                throw NativeCode.failure(e);
            }
        }

        /** Which implementation an operation has. */
        String nameOf(MemorySegment operation) {
            MemorySegment name = arena.allocate(ADDRESS);
            check(query, operation, QUERY_NAME, 0, name);
            return name.get(ADDRESS, 0).reinterpret(Long.MAX_VALUE).getString(0);
        }

        MemorySegment primitive(MemorySegment operation) {
            return create(primitiveDestroy, primitiveCreate, operation);
        }

        /** Memories by the index of the argument. */
        MemorySegment arguments(Map<Integer, MemorySegment> memories) {
            MemorySegment list = arena.allocate(ARGUMENT, memories.size());
            long at = 0;
            for (Map.Entry<Integer, MemorySegment> argument : memories.entrySet()) {
                list.set(JAVA_INT, at, argument.getKey());
                list.set(ADDRESS, at + ADDRESS.byteSize(), argument.getValue());
                at += ARGUMENT.byteSize();
            }
            return list;
        }

        private MemorySegment create(MethodHandle destroy, MethodHandle create, Object... arguments) {
            MemorySegment out = arena.allocate(ADDRESS);
            check(
                    create,
                    Stream.concat(Stream.of(out), Arrays.stream(arguments)).toArray());
            MemorySegment created = out.get(ADDRESS, 0);
            destructors.push(() -> check(destroy, created));
            return created;
        }

        @Override
        public void close() {
            destructors.forEach(Runnable::run);
            arena.close();
        }
    }
}
