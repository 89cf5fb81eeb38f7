// SPDX-License-Identifier: MIT
// A cache of libuvm in C++: pages come from a function when they are touched. c++ -o space space.cc $(pkg-config --cflags --libs uvm)
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <unistd.h>
#include <uvm/space.h>
#include <vector>

template <auto unref> struct unref_with {
	template <typename T> void operator()(T *object) const { unref(object); }
};
using space_ptr = std::unique_ptr<uvm_space, unref_with<uvm_space_unref>>;
using cache_ptr = std::unique_ptr<uvm_cache, unref_with<uvm_cache_unref>>;
using cacheable_ptr = std::unique_ptr<uvm_cacheable, unref_with<uvm_cacheable_unref>>;
using mappable_ptr = std::unique_ptr<uvm_mappable, unref_with<uvm_mappable_unref>>;

// Calls create(…, &object), and owns the object.
template <typename Pointer, typename Create, typename... Arguments> static Pointer make(Create create, Arguments... arguments)
{
	typename Pointer::pointer object = nullptr;

	if (int error = create(arguments..., &object))
		throw std::runtime_error(uvm_mem_error_name(error));
	return Pointer(object);
}

// Each page holds its number.
static int fill_pages(void *, uvm_cache *cache, uvm_region region)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	std::vector<char> data(region.end - region.start + 1);

	for (size_t i = 0; i < data.size(); i++)
		data[i] = static_cast<char>((region.start + i) / page);
	return uvm_cache_fill(cache, region.start, data.data(), data.size());
}

int main()
try {
	const uint64_t page = sysconf(_SC_PAGESIZE), pages = 16;
	const uvm_cacheable_ops ops = {sizeof(ops), fill_pages, nullptr};
	uvm_region all = {0, pages * page - 1}, window;
	uint64_t at = UVM_UNSPECIFIED_START;
	auto cacheable = make<cacheable_ptr>(uvm_cacheable_create, &ops, nullptr, pages, page);
	auto cache = make<cache_ptr>(uvm_cache_create);
	uvm_cache_set_cacheable(cache.get(), cacheable.get());
	auto mappable = make<mappable_ptr>(uvm_cache_get_mappable, cache.get());
	auto space = make<space_ptr>(uvm_space_create, pages * page);

	if (int error = uvm_space_map(space.get(), mappable.get(), all, &at, UVM_MAP_READ))
		throw std::runtime_error(uvm_mem_error_name(error));
	uvm_space_get_window(space.get(), &window);
	std::printf("page 7 holds %d\n", reinterpret_cast<const char *>(window.start)[7 * page]);
} catch (const std::exception &error) {
	std::fprintf(stderr, "no cache: %s\n", error.what());
	return 1;
}
