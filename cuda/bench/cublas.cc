#include "cublas.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "device.h"

namespace gatun::bench {
namespace {

// Of cuBLAS's interface, as its documentation gives it.
constexpr int32_t kSuccess = 0, kNotTransposed = 0, kTransposed = 1, kDefaultAlgorithm = -1;
constexpr int32_t kBf16 = 14;                           // cudaDataType
constexpr int32_t kComputeF32 = 68;                     // cublasComputeType_t
constexpr int64_t kWorkspaceBytes = int64_t{64} << 20;  // what its documentation says for Hopper is 32 MiB
constexpr const char* kNames[] = {"libcublas.so.13", "libcublas.so.12"};

// Lines that a command prints.
std::vector<std::string> lines_of(const char* command) {
  std::vector<std::string> lines;
  std::FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return lines;
  char line[4096];
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    std::string text = line;
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    if (!text.empty()) lines.push_back(text);
  }
  pclose(pipe);
  return lines;
}

std::vector<std::string> places() {
  std::vector<std::string> folders;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* toolkit = std::getenv(variable)) folders.push_back(toolkit);
  }
  folders.insert(folders.end(), {"/usr/local/cuda", "/opt/cuda"});
  std::vector<std::string> files;
  for (const char* name : kNames) {
    for (const std::string& folder : folders) {
      files.push_back(folder + "/lib64/" + name);
      files.push_back(folder + "/targets/x86_64-linux/lib/" + name);
    }
  }
  const std::vector<std::string> packages = lines_of(
      "python3 -c \"import glob, sys; [print(f) for p in sys.path for f in "
      "sorted(glob.glob(p + '/nvidia/*/lib/libcublas.so.*'), reverse=True)]\" 2>/dev/null");
  files.insert(files.end(), packages.begin(), packages.end());
  files.insert(files.end(), std::begin(kNames), std::end(kNames));
  return files;
}

}  // namespace

struct Cublas::Functions {
  void* library = nullptr;
  Memory workspace{kWorkspaceBytes};
  int32_t (*create)(void**) = nullptr;
  int32_t (*destroy)(void*) = nullptr;
  int32_t (*set_stream)(void*, void*) = nullptr;
  int32_t (*set_workspace)(void*, void*, size_t) = nullptr;
  int32_t (*get_version)(void*, int*) = nullptr;
  int32_t (*gemm)(void* handle, int32_t transpose_a, int32_t transpose_b, int m, int n, int k, const void* alpha,
                  const void* a, int32_t a_type, int lda, const void* b, int32_t b_type, int ldb, const void* beta,
                  void* c, int32_t c_type, int ldc, int32_t compute, int32_t algorithm) = nullptr;

  template <class Function>
  bool find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(library, name));
    return *function != nullptr;
  }
};

std::unique_ptr<Cublas> Cublas::open(const std::string& path, void* stream, std::string* why_not) {
  std::unique_ptr<Cublas> cublas(new Cublas);
  why_not->clear();
  for (const std::string& file : path.empty() ? places() : std::vector<std::string>{path}) {
    if (cublas->load(file, stream, why_not)) return cublas;
  }
  return nullptr;
}

bool Cublas::load(const std::string& path, void* stream, std::string* why_not) {
  // The library that it is built on lies beside it, and its own search path may not say so.
  const size_t slash = path.rfind('/'), dot = path.rfind('.');
  if (slash != std::string::npos && dot != std::string::npos && dot > slash) {
    dlopen((path.substr(0, slash) + "/libcublasLt.so" + path.substr(dot)).c_str(), RTLD_NOW | RTLD_GLOBAL);
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *why_not += "  " + std::string(dlerror()) + "\n";
    return false;
  }
  auto f = std::make_unique<Functions>();
  f->library = library;
  if (!f->find("cublasCreate_v2", &f->create) || !f->find("cublasDestroy_v2", &f->destroy) ||
      !f->find("cublasSetStream_v2", &f->set_stream) || !f->find("cublasSetWorkspace_v2", &f->set_workspace) ||
      !f->find("cublasGetVersion_v2", &f->get_version) || !f->find("cublasGemmEx", &f->gemm)) {
    *why_not += "  " + path + ": lacks a function\n";
    return false;
  }
  int version = 0;
  int32_t status = f->create(&handle_);
  if (status == kSuccess) status = f->set_stream(handle_, stream);
  if (status == kSuccess) status = f->set_workspace(handle_, f->workspace.get(), kWorkspaceBytes);
  if (status == kSuccess) status = f->get_version(handle_, &version);
  if (status != kSuccess) {
    *why_not += "  " + path + ": status " + std::to_string(status) + "\n";
    if (handle_ != nullptr) f->destroy(handle_);
    handle_ = nullptr;
    return false;
  }
  version_ = std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." +
             std::to_string(version % 100);
  path_ = path;
  functions_ = std::move(f);
  return true;
}

Cublas::~Cublas() {
  if (functions_ != nullptr && handle_ != nullptr) functions_->destroy(handle_);
}

// In its column-major eyes, y^T [columns, rows] = w^T's transpose * x^T.
bool Cublas::multiply_bf16(const void* x, const void* w, void* y, int64_t rows, int64_t columns, int64_t depth) const {
  const float one = 1, zero = 0;
  const int m = static_cast<int>(columns), n = static_cast<int>(rows), k = static_cast<int>(depth);
  return functions_->gemm(handle_, kTransposed, kNotTransposed, m, n, k, &one, w, kBf16, k, x, kBf16, k, &zero, y,
                          kBf16, m, kComputeF32, kDefaultAlgorithm) == kSuccess;
}

}  // namespace gatun::bench
