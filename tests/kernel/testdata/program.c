/* The least that can be executed or mapped: it exits with 42. */
void _start(void)
{
	__asm__ volatile("mov $60, %eax\n\tmov $42, %edi\n\tsyscall");
}
