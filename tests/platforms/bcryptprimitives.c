/* The one function of Windows's bcryptprimitives.dll that Rust's standard library calls, for a Wine that has no such library:
 * Wine's own random numbers, by their older name. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, (ULONG)size); }
