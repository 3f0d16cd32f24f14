package io.gatun.bindings;

import io.gatun.bindings.c.gatun_cuda_h;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/**
 * Finds, loads and checks libgatun_cuda, as {@link NativeLibrary} does libgatun: the system property
 * {@code gatun.cuda.library.path}, the resource of a gatun-cuda-native jar,
 * {@code cuda/target/cmake} of the source tree. None of them is tried unless a driver is there: the system's loader opens
 * {@code libcuda.so.1}. The emulated library, libgatun_cuda_emulated, needs none, and only the property leads to it.
 */
public final class CudaLibrary {
    /** The system property that names the library, or the folder that holds it. */
    public static final String PATH_PROPERTY = "gatun.cuda.library.path";

    private static final String DRIVER = "libcuda.so.1";
    private static final String EMULATED = System.mapLibraryName("gatun_cuda_emulated");
    private static final LibrarySearch SEARCH = new LibrarySearch(
            new LibrarySearch.Target(
                    "Gatun's CUDA library",
                    System.mapLibraryName("gatun_cuda"),
                    PATH_PROPERTY,
                    "cuda/target/cmake",
                    "gatun-cuda-native",
                    "io.gatun.cuda.natives",
                    "gatun_cuda_abi_version",
                    gatun_cuda_h::GATUN_CUDA_ABI_VERSION),
            CudaLibrary::driverProblem,
            remedies -> null);

    private CudaLibrary() {}

    /**
     * Makes the functions of {@link gatun_cuda_h} callable. Cheap after the first call.
     *
     * @throws UnsatisfiedLinkError if there is no driver or no usable library: every place tried, why it failed, and the
     *     remedy. Later calls throw the same message again.
     */
    public static void load() {
        SEARCH.load();
    }

    /** Where the library was loaded from, for a person; null before a successful {@link #load()}. */
    public static String loaded() {
        return SEARCH.loaded();
    }

    /** The places tried so far, each with its outcome. */
    public static List<String> searched() {
        return SEARCH.searched();
    }

    private static String driverProblem(Consumer<String> remedies) {
        String property = System.getProperty(PATH_PROPERTY);
        if (property != null && Path.of(property).endsWith(EMULATED)) {
            return null;
        }
        try {
            SymbolLookup.libraryLookup(DRIVER, Arena.global());
            return null;
        } catch (IllegalArgumentException absent) {
            remedies.accept("install the driver of an NVIDIA GPU; nvidia-smi tells whether it works");
            remedies.accept("in a container: start it with the GPU, for instance docker run --gpus all");
            remedies.accept("without a GPU: tensors of Device.CPU need neither driver nor CUDA library");
            return "NVIDIA driver: the system's loader finds no " + DRIVER;
        }
    }
}
