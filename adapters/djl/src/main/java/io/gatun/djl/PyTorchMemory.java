package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.pytorch.engine.PtNDArray;
import io.gatun.djl.NDViews.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Asks libtorch's C interface (aoti_torch_get_data_ptr, aoti_torch_get_strides) where a tensor is. */
final class PyTorchMemory {
    private static final MethodHandle DATA = function("aoti_torch_get_data_ptr");
    private static final MethodHandle STRIDES = function("aoti_torch_get_strides");

    private PyTorchMemory() {}

    static Memory of(String name, NDArray array) {
        if (DATA == null || STRIDES == null) {
            throw NDViews.unsupported(
                    name,
                    "of a libtorch without aoti_torch_get_data_ptr and aoti_torch_get_strides",
                    "PyTorch 2.2 or newer, loaded by DJL");
        }
        // DJL's handle is a pointer to an at::Tensor, and so is AtenTensorHandle.
        long tensor = ((PtNDArray) array).getHandle();
        int rank = array.getShape().dimension();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.ADDRESS, 2);
            int failed = (int) DATA.invokeExact(tensor, out);
            failed |= (int) STRIDES.invokeExact(tensor, out.asSlice(ValueLayout.ADDRESS.byteSize()));
            if (failed != 0) {
                throw new IllegalStateException("PyTorch does not tell where an array " + array.getShape() + " is");
            }
            long[] strides = out.getAtIndex(ValueLayout.ADDRESS, 1)
                    .reinterpret((long) rank * Long.BYTES)
                    .toArray(ValueLayout.JAVA_LONG);
            return new Memory(out.getAtIndex(ValueLayout.ADDRESS, 0).address(), strides);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** int name(long tensor, void** out), of the library that DJL has loaded; null where it is not there. */
    private static MethodHandle function(String name) {
        FunctionDescriptor type =
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS);
        try {
            return SymbolLookup.libraryLookup(System.mapLibraryName("torch_cpu"), Arena.global())
                    .find(name)
                    .map(address -> Linker.nativeLinker().downcallHandle(address, type))
                    .orElse(null);
        } catch (IllegalArgumentException e) {
            return null;
        }
    }
}
