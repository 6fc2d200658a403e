package hashring
import ("testing";"fmt";"strings")
func TestGen(t *testing.T){
 for _,c:=range [][2]string{{"default",""},{"default","a"},{"default","b"},{"default","user/1"},{"orders","user/1"},{"orders","a//b"},{"orders","\x00\xff"},{"b",strings.Repeat("k",1024)}} {
  h:=Hash(c[0],[]byte(c[1])); fmt.Printf("{%q, %q, %#x, %d, %d},\n",c[0],c[1],h,PartitionOf(h,20),PartitionOf(h,64))
 }
}
